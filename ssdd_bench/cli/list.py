"""``ssdd-bench list``: names of what there is to run. Imports neither torch nor a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns

if TYPE_CHECKING:
    from ssdd_bench.api import LatentSpec
    from ssdd_bench.metrics.catalog import MetricInfo
    from ssdd_bench.plugins.discovery import Broken
    from ssdd_bench.plugins.manifest import Published, TokenizerInfo
    from ssdd_bench.plugins.options import OptionInfo


@dataclass(frozen=True)
class Listing:
    """A list of one kind of things, as a document and as a table.

    Attributes:
        entries: of the document.
        columns: headings of the table.
        rows: of the table.
        broken: plugins that are left out.
        note: line below the table.
    """

    entries: Sequence[Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    broken: Sequence[Broken] = ()
    note: str = ""


def _tokenizers() -> Listing:
    from ssdd_bench.plugins.registry import TOKENIZERS

    found = TOKENIZERS.all().values()
    rows = [
        (
            info.id,
            info.family,
            _describe_latent(info.latent),
            _describe_options(info, found),
            info.licence,
            info.source,
            info.note,
        )
        for info in found
    ]
    columns = ("id", "family", "latent", "options", "licence", "source", "note")
    return Listing([asdict(info) for info in found], columns, rows, TOKENIZERS.broken())


def _zoo() -> Listing:
    from ssdd_bench.plugins.registry import TOKENIZERS

    zoo = [(info, info.published) for info in TOKENIZERS.all().values() if info.published]
    rows = [
        (
            f"`{info.id}`",
            f"[{info.title}]({info.paper})" if info.paper else info.title,
            _describe_latent(info.latent).replace("\n", ", "),
            info.licence,
            _describe_normalisation(published),
            published.training_data or "not stated",
            _describe_weights(published),
        )
        for info, published in zoo
    ]
    columns = ("id", "model", "latent", "licence", "latents leave as", "trained on", "weights")
    return Listing([asdict(info) for info, _ in zoo], columns, rows)


def _metrics() -> Listing:
    from ssdd_bench.metrics.catalog import METRICS, find_metrics

    found = find_metrics().values()
    rows = [
        (
            info.key,
            info.applies_to,
            "higher" if info.higher_is_better else "lower",
            info.default_for,
            _describe_metric(info),
        )
        for info in found
    ]
    columns = ("key", "scores", "better", "default", "description")
    return Listing([asdict(info) for info in found], columns, rows, METRICS.broken())


def _protocols() -> Listing:
    from ssdd_bench.protocols.registry import PROTOCOLS

    found = PROTOCOLS.all().values()
    rows = [(one.id, one.kind, one.description, one.sha256[:12]) for one in found]
    columns = ("id", "scores", "description", "sha256")
    return Listing([one.record() for one in found], columns, rows, PROTOCOLS.broken())


def _data() -> Listing:
    from ssdd_bench.data.named import DATA_SETS, roots

    found = [(one, one.find()) for one in DATA_SETS.all().values()]
    rows = [
        (
            one.name,
            f"{one.images:,}",
            "here" if here else "absent",
            one.title,
            one.protocol,
            one.licence,
        )
        for one, here in found
    ]
    entries = [{**asdict(one), "here": here} for one, here in found]
    columns = ("id", "images", "state", "description", "protocol", "licence")
    places = " or ".join(str(root / "ID") for root in roots())
    note = f"Looked for at {places}; --json says where to get them."
    return Listing(entries, columns, rows, DATA_SETS.broken(), note)


def _suites() -> Listing:
    from ssdd_bench.cli._config import SUITES, describe_suite, find_suites

    found = find_suites()
    rows = [(name, describe_suite(path)) for name, path in found.items()]
    entries = [{"id": name, "description": text, "path": found[name]} for name, text in rows]
    note = f"Files to copy and change: {SUITES / 'ID.toml'}"
    return Listing(entries, ("id", "description"), rows, (), note)


LISTINGS: Mapping[str, Callable[[], Listing]] = {
    "tokenizers": _tokenizers,
    "zoo": _zoo,
    "metrics": _metrics,
    "protocols": _protocols,
    "data": _data,
    "suites": _suites,
}


@click.command("list", short_help="List tokenizers, metrics, protocols, data sets, suites.")
@click.argument("what", type=click.Choice(list(LISTINGS)), default="tokenizers")
@json_option
def command(what: str, as_json: bool) -> None:
    """List the tokenizers, metrics, protocols, data sets or suites that `ssdd-bench run` takes.

    `list zoo` prints the tokenizers with published weights as the table of docs/zoo.md.
    """
    found = LISTINGS[what]()
    if as_json:
        broken = [
            {"name": one.name, "source": one.source, "error": str(one.error)}
            for one in found.broken
        ]
        print_json({what: found.entries, "broken": broken})
        return
    if what == "zoo":
        rule = ["---"] * len(found.columns)
        for row in (found.columns, rule, *found.rows):
            click.echo(f"| {' | '.join(row)} |")
    else:
        print_columns(found.columns, found.rows)
    if found.note:
        click.echo(found.note)
    for one in found.broken:
        click.echo(f"warning: {one.name} ({one.source}) is left out: {one.error}", err=True)


def _describe_metric(info: MetricInfo) -> str:
    """Write its title, its needs besides images, and its package."""
    needs = [*info.assets, *(["labels"] if info.needs_labels else [])]
    parts = [info.title]
    if needs:
        parts.append(f"needs {', '.join(needs)}")
    if info.source != "built-in":
        parts.append(info.source)
    return "; ".join(parts)


def _describe_latent(latent: LatentSpec | None) -> str:
    if latent is None:
        return "by model"
    if latent.kind == "bytes":
        return "bytes"
    bits = "" if latent.bits_per_value is None else f"\n{latent.bits_per_value:g} bits"
    return f"f{latent.f}c{latent.channels}{bits}"


def _describe_normalisation(published: Published) -> str:
    shift, scale = published.shift_factor, published.scaling_factor
    if published.normalisation:
        return published.normalisation
    return f"(z - {shift:g}) * {scale:g}" if shift else f"z * {scale:g}"


def _describe_weights(published: Published) -> str:
    if not published.hub:
        return "by path"
    where = "/".join(filter(None, (published.hub, published.folder)))
    return f"{where} @ {published.revision[:7]}" if published.revision else where


def _describe_options(info: TokenizerInfo, others: Iterable[TokenizerInfo]) -> str:
    """List options, one per line; a model names its family in place of the common ones."""
    common: Mapping[str, OptionInfo] = {}
    lines = []
    for other in others:
        if info.model and other.folder == info.folder and not other.model:
            common = other.options
            lines = [f"as {other.id}"]
    own = [option for name, option in info.options.items() if name not in common]
    return "\n".join([*lines, *map(_describe_option, own)])


def _describe_option(option: OptionInfo) -> str:
    from ssdd_bench.plugins.options import format_value

    return f"{option.name}={format_value(option.default)}"
