"""``ssdd-bench list``: names of what there is to run. Imports neither torch nor a plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import click

from ssdd_bench.api import LatentSpec
from ssdd_bench.cli._config import SUITES, find_suites
from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._verbs import Choice, argument, verb
from ssdd_bench.data.named import DATA_SETS, DataSet, roots
from ssdd_bench.metrics.base import MetricInfo
from ssdd_bench.metrics.catalog import METRICS, find_metrics
from ssdd_bench.plugins.discovery import Broken
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.options import format_value
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.protocols.schema import AnyProtocol


@dataclass(frozen=True)
class Kind:
    """A kind of things to list."""

    find: Callable[[], Mapping[str, Any]]
    row: Callable[[Any], Mapping[str, str]]  # of the table, by heading
    broken: Callable[[], Sequence[Broken]] = tuple
    document: Callable[[Any], Any] = asdict  # for JSON
    note: Callable[[], str] = str  # below the table


def _tokenizer(info: TokenizerInfo) -> dict[str, str]:
    return {
        "id": info.id,
        "family": info.family,
        "latent": _describe_latent(info.latent),
        "options": _describe_options(info),
        "licence": info.licence,
        "source": info.source,
        "note": info.note_on("shipped"),
    }


def _published() -> dict[str, TokenizerInfo]:
    return {name: info for name, info in TOKENIZERS.all().items() if info.published}


def _model(info: TokenizerInfo) -> dict[str, str]:
    known = info.published
    assert known is not None
    shifted = f"(z - {known.shift_factor:g})" if known.shift_factor else "z"
    commit = f" @ {known.revision[:7]}" if known.revision else ""
    return {
        "id": f"`{info.id}`",
        "model": f"[{info.title}]({info.paper})" if info.paper else info.title,
        "latent": _describe_latent(info.latent).replace("\n", ", "),
        "parameters": f"{known.parameters / 1e6:.1f} M" if known.parameters else "not known",
        "licence": info.licence,
        "latents leave as": known.normalisation or f"{shifted} * {known.scaling_factor:g}",
        "trained on": known.training_data or "not stated",
        "weights": "/".join(filter(None, (known.hub, known.folder))) + commit or "by path",
        "confirmed": ", ".join(f"[{fact}]({url})" for fact, url in known.confirmed.items())
        or "nothing",
        "unconfirmed": ", ".join(known.unconfirmed) or "nothing",
    }


def _metric(info: MetricInfo) -> dict[str, str]:
    needs = ", ".join([*info.assets, *(["labels"] if info.needs_labels else [])])
    source = "" if info.source == "built-in" else info.source
    return {
        "key": info.key,
        "scores": info.applies_to,
        "better": "higher" if info.higher_is_better else "lower",
        "default": info.default_for,
        "description": "; ".join(filter(None, (info.title, needs and f"needs {needs}", source))),
    }


def _protocol(protocol: AnyProtocol) -> dict[str, str]:
    return {
        "id": protocol.id,
        "scores": protocol.kind,
        "description": protocol.description,
        "sha256": protocol.sha256[:12],
    }


def _data_set(data_set: DataSet) -> dict[str, str]:
    return {
        "id": data_set.name,
        "images": f"{data_set.images:,}",
        "state": "here" if data_set.find() else "absent",
        "description": data_set.title,
        "protocol": data_set.protocol,
        "licence": data_set.licence,
    }


def _places() -> str:
    places = " or ".join(str(root / "ID") for root in roots())
    return f"Looked for at {places}; --json says where to get them."


def _suite(path: Path) -> dict[str, str]:
    text = path.read_text("utf-8")
    return {"id": path.stem, "description": text.partition("\n")[0].lstrip("# ")}


KINDS: Final = {
    "tokenizers": Kind(TOKENIZERS.all, _tokenizer, TOKENIZERS.broken),
    "zoo": Kind(_published, _model),
    "metrics": Kind(find_metrics, _metric, METRICS.broken),
    "protocols": Kind(PROTOCOLS.all, _protocol, PROTOCOLS.broken, lambda one: one.record()),
    "data": Kind(
        DATA_SETS.all,
        _data_set,
        DATA_SETS.broken,
        lambda one: asdict(one) | {"here": one.find()},
        _places,
    ),
    "suites": Kind(
        find_suites,
        _suite,
        document=lambda path: _suite(path) | {"path": path},
        note=lambda: f"Files to copy and change: {SUITES / 'ID.toml'}",
    ),
}


@verb
def command(
    what: Annotated[str, argument(type=Choice(list(KINDS)))] = "tokenizers",
) -> None:
    """List tokenizers, metrics, protocols, data sets, suites.

    These are what `ssdd-bench run` takes. `list zoo` prints the tokenizers with published weights
    as the table of docs/zoo.md.
    """
    kind = KINDS[what]
    found = kind.find().values()
    broken = [
        {"name": one.name, "source": one.source, "error": str(one.error)} for one in kind.broken()
    ]
    if print_json({what: [kind.document(one) for one in found], "broken": broken}):
        return
    rows = [kind.row(one) for one in found]
    if what == "zoo":
        for row in (rows[0], ["---"] * len(rows[0]), *(row.values() for row in rows)):
            click.echo(f"| {' | '.join(row)} |")
    else:
        print_columns(rows)
    if note := kind.note():
        click.echo(note)
    for one in broken:
        click.echo("warning: {name} ({source}) is left out: {error}".format(**one), err=True)


def _describe_latent(latent: LatentSpec | None) -> str:
    if latent is None:
        return "by model"
    bits = "" if latent.bits_per_value is None else f"\n{latent.bits_per_value:g} bits"
    return f"{latent.name}{bits}"


def _describe_options(info: TokenizerInfo) -> str:
    """List options, one per line; a model names its family in place of the common ones."""
    siblings = [one for one in TOKENIZERS.all().values() if one.folder == info.folder]
    families = [one for one in siblings if info.model and not one.model]
    lines = [f"as {family.id}" for family in families]
    lines += [
        f"{name}={format_value(one.default)}"
        for name, one in info.options.items()
        if not any(name in family.options for family in families)
    ]
    return "\n".join(lines)
