"""Tables of what there is to evaluate: tokenizers, metrics and protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    import pandas as pd


def list_tokenizers() -> pd.DataFrame:
    """Return a data frame of all tokenizers, indexed by id.

    Columns: title, family, f, channels (None where only the loaded model knows), stochastic,
    options (names), licence, source and note.
    """
    return _frame(
        {
            "id": info.id,
            "title": info.title,
            "family": info.family,
            "f": info.latent.f if info.latent else None,
            "channels": info.latent.channels if info.latent else None,
            "stochastic": info.stochastic,
            "options": ", ".join(info.options),
            "licence": info.licence,
            "source": info.source,
            "note": info.note_on("shipped"),
        }
        for info in TOKENIZERS.all().values()
    )


def list_metrics() -> pd.DataFrame:
    """Return a data frame of all metrics, indexed by key.

    Columns: title, higher_is_better, applies_to (``pairs``, ``samples`` or ``both``), default_for,
    extra (optional dependencies) and source.
    """
    columns = ("title", "higher_is_better", "applies_to", "default_for", "extra", "source")
    return _frame(
        {"id": key} | {column: getattr(info, column) for column in columns}
        for key, info in find_metrics().items()
    )


def list_protocols() -> pd.DataFrame:
    """Return a data frame of all protocols, indexed by id; columns kind, description, sha256."""
    return _frame(
        {"id": one.id, "kind": one.kind, "description": one.description, "sha256": one.sha256}
        for one in PROTOCOLS.all().values()
    )


def _frame(rows: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows)).set_index("id")
