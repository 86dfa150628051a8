"""``ssdd-bench list``: what there is to run. Imports neither torch nor a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns

if TYPE_CHECKING:
    from ssdd_bench.api import LatentSpec
    from ssdd_bench.metrics.catalog import MetricInfo
    from ssdd_bench.plugins.discovery import Broken
    from ssdd_bench.plugins.manifest import Published, TokenizerInfo
    from ssdd_bench.plugins.options import OptionInfo


@click.command("list", short_help="List tokenizers, metrics, protocols, data sets, suites.")
@click.argument(
    "what",
    type=click.Choice(["tokenizers", "zoo", "metrics", "protocols", "data", "suites"]),
    default="tokenizers",
)
@json_option
def command(what: str, as_json: bool) -> None:
    """List the tokenizers, metrics, protocols, data sets or suites that `ssdd-bench run` takes.

    The zoo are the tokenizers whose weights others published, as the table of docs/zoo.md.
    """
    show = {
        "tokenizers": _tokenizers,
        "zoo": _zoo,
        "metrics": _metrics,
        "protocols": _protocols,
        "data": _data,
        "suites": _suites,
    }[what]
    show(as_json)


def _tokenizers(as_json: bool) -> None:
    from ssdd_bench.plugins.registry import TOKENIZERS

    found, broken = TOKENIZERS.all(), TOKENIZERS.broken()
    if as_json:
        entries = [asdict(info) for info in found.values()]
        print_json({"tokenizers": entries, "broken": _describe_broken(broken)})
        return
    print_columns(
        ("id", "family", "latent", "options", "licence", "source", "note"),
        [
            (
                info.id,
                info.family,
                _describe_latent(info.latent),
                _describe_options(info, found.values()),
                info.licence,
                info.source,
                info.note,
            )
            for info in found.values()
        ],
    )
    _warn(broken)


def _zoo(as_json: bool) -> None:
    from ssdd_bench.plugins.registry import TOKENIZERS

    zoo = [info for info in TOKENIZERS.all().values() if info.published]
    if as_json:
        print_json({"zoo": [asdict(info) for info in zoo]})
        return
    head = ("id", "model", "latent", "licence", "latents leave as", "trained on", "weights")
    click.echo(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for info in zoo:
        assert info.published is not None
        row = (
            f"`{info.id}`",
            f"[{info.title}]({info.paper})" if info.paper else info.title,
            _describe_latent(info.latent).replace("\n", ", "),
            info.licence,
            _describe_normalisation(info.published),
            info.published.training_data or "not stated",
            _describe_weights(info.published),
        )
        click.echo(f"| {' | '.join(row)} |")


def _metrics(as_json: bool) -> None:
    from ssdd_bench.metrics.catalog import METRICS, find_metrics

    found, broken = find_metrics(), METRICS.broken()
    if as_json:
        entries = [asdict(info) for info in found.values()]
        print_json({"metrics": entries, "broken": _describe_broken(broken)})
        return
    print_columns(
        ("key", "scores", "better", "default", "what"),
        [
            (
                info.key,
                info.applies_to,
                "higher" if info.higher_is_better else "lower",
                info.default_for,
                _describe_metric(info),
            )
            for info in found.values()
        ],
    )
    _warn(broken)


def _describe_metric(info: MetricInfo) -> str:
    """Write its title, its needs besides images, and its package."""
    needs = [*info.assets, *(["labels"] if info.needs_labels else [])]
    parts = [info.title]
    if needs:
        parts.append(f"needs {', '.join(needs)}")
    if info.source != "built-in":
        parts.append(info.source)
    return "; ".join(parts)


def _protocols(as_json: bool) -> None:
    from ssdd_bench.protocols.schema import PROTOCOLS

    found, broken = PROTOCOLS.all(), PROTOCOLS.broken()
    if as_json:
        records = [protocol.record() for protocol in found.values()]
        print_json({"protocols": records, "broken": _describe_broken(broken)})
        return
    print_columns(
        ("id", "scores", "what", "sha256"),
        [(one.id, one.kind, one.description, one.sha256[:12]) for one in found.values()],
    )
    _warn(broken)


def _describe_broken(broken: Iterable[Broken]) -> list[dict[str, str]]:
    return [{"name": one.name, "source": one.source, "error": str(one.error)} for one in broken]


def _warn(broken: Iterable[Broken]) -> None:
    for one in broken:
        click.echo(f"warning: {one.name} ({one.source}) is left out: {one.error}", err=True)


def _data(as_json: bool) -> None:
    from ssdd_bench.data.named import DATA_SETS, roots

    found, broken = DATA_SETS.all(), DATA_SETS.broken()
    if as_json:
        entries = [{**asdict(one), "here": one.find()} for one in found.values()]
        print_json({"data": entries, "broken": _describe_broken(broken)})
        return
    print_columns(
        ("id", "images", "state", "what", "protocol", "licence"),
        [
            (
                one.name,
                f"{one.images:,}",
                "here" if one.find() else "absent",
                one.title,
                one.protocol,
                one.licence,
            )
            for one in found.values()
        ],
    )
    places = " or ".join(str(root / "ID") for root in roots())
    click.echo(f"Looked for at {places}; --json says where to get them.")
    _warn(broken)


def _suites(as_json: bool) -> None:
    from ssdd_bench.cli._config import SUITES, describe_suite, find_suites

    suites = find_suites()
    if as_json:
        entries = [
            {"id": name, "description": describe_suite(path), "path": path}
            for name, path in suites.items()
        ]
        print_json({"suites": entries})
        return
    rows = [(name, describe_suite(path)) for name, path in suites.items()]
    print_columns(("id", "what"), rows)
    click.echo(f"Files to copy and change: {SUITES / 'ID.toml'}")


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
    """One per line; a model names its family instead of the options that are common to it."""
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
