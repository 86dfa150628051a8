"""Tables of tokenizers, metrics and protocols: each row is what the registry knows."""

import pandas as pd

from ssdd_bench.evaluation.listing import list_metrics, list_protocols, list_tokenizers
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.protocols.registry import PROTOCOLS

Row = dict[str, object]


def rows(table: pd.DataFrame) -> dict[str, Row]:
    assert table.index.name == "id"
    return {str(name): dict(row) for name, row in table.iterrows()}


def test_a_row_for_each_tokenizer() -> None:
    found = rows(list_tokenizers())
    assert [*found] == [*TOKENIZERS.all()]
    assert found["jpeg"] == {
        "title": "JPEG",
        "family": "codec",
        "f": 1,
        "channels": 0,
        "stochastic": False,
        "options": "quality, subsampling",
        "licence": "Apache-2.0",
        "source": "built-in",
        "note": "",
    }
    for name, info in TOKENIZERS.all().items():
        assert found[name]["stochastic"] is info.stochastic
        assert found[name]["note"] == info.note_on("shipped")
    mini = TOKENIZERS.get("ssdd")
    assert mini.shipped is not None
    assert found["ssdd"]["note"] == mini.shipped.note
    assert found["ssdd"]["f"] == 8
    assert found["ssdd"]["channels"] == 4


def test_a_latent_that_only_the_model_knows() -> None:
    found = rows(list_tokenizers())
    unknown = [name for name, info in TOKENIZERS.all().items() if info.latent is None]
    assert unknown
    for name in unknown:
        assert pd.isna(found[name]["f"])
        assert pd.isna(found[name]["channels"])


def test_a_row_for_each_metric() -> None:
    found = rows(list_metrics())
    assert [*found] == [*find_metrics()]
    assert found == {
        key: {
            "title": info.title,
            "higher_is_better": info.higher_is_better,
            "applies_to": info.applies_to,
            "default_for": info.default_for,
            "extra": info.extra,
            "source": info.source,
        }
        for key, info in find_metrics().items()
    }
    assert {one["applies_to"] for one in found.values()} == {"pairs", "samples", "both"}


def test_a_row_for_each_protocol() -> None:
    found = rows(list_protocols())
    assert found == {
        one.id: {"kind": one.kind, "description": one.description, "sha256": one.sha256}
        for one in PROTOCOLS.all().values()
    }
    assert {one["kind"] for one in found.values()} == {"reconstruction", "generation"}
