"""``ssdd-bench list``: what there is to run. Imports neither torch nor a plugin."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ssdd_bench.cli._tables import print_columns

if TYPE_CHECKING:
    from ssdd_bench.api import LatentSpec
    from ssdd_bench.manifest import OptionInfo, Published, TokenizerInfo


@click.command("list")
@click.argument(
    "what", type=click.Choice(["tokenizers", "zoo", "metrics", "protocols"]), default="tokenizers"
)
@click.option("--json", "as_json", is_flag=True, help="machine-readable, with every detail")
def command(what: str, as_json: bool) -> None:
    """List the tokenizers, metrics or protocols that `ssdd-bench run` takes.

    The zoo are the tokenizers whose weights others published, as the table of docs/zoo.md.
    """
    show = {
        "tokenizers": _tokenizers,
        "zoo": _zoo,
        "metrics": _metrics,
        "protocols": _protocols,
    }[what]
    show(as_json)


def _tokenizers(as_json: bool) -> None:
    from ssdd_bench.registry import find_all

    found = find_all()
    if as_json:
        entries = [asdict(info) for info in found.tokenizers.values()]
        broken = [
            {"name": one.name, "source": one.source, "error": str(one.error)}
            for one in found.broken
        ]
        _print_json({"tokenizers": entries, "broken": broken})
        return
    print_columns(
        ("id", "family", "latent", "options", "licence", "source", "note"),
        [
            (
                info.id,
                info.family,
                _describe_latent(info.latent),
                _describe_options(info, found.tokenizers.values()),
                info.licence,
                info.source,
                info.note,
            )
            for info in found.tokenizers.values()
        ],
    )
    for one in found.broken:
        click.echo(f"warning: {one.name} ({one.source}) is left out: {one.error}", err=True)


def _zoo(as_json: bool) -> None:
    from ssdd_bench.registry import find_tokenizers

    zoo = [info for info in find_tokenizers().values() if info.published]
    if as_json:
        _print_json({"zoo": [asdict(info) for info in zoo]})
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
    from ssdd_bench.metrics.base import METRICS

    if as_json:
        _print_json(
            {
                "metrics": [
                    {
                        "key": info.key,
                        "title": info.title,
                        "higher_is_better": info.higher_is_better,
                        "default": info.default,
                    }
                    for info in METRICS.values()
                ]
            }
        )
        return
    print_columns(
        ("key", "better", "measured", "what"),
        [
            (
                info.key,
                "higher" if info.higher_is_better else "lower",
                "always" if info.default else "on request",
                info.title,
            )
            for info in METRICS.values()
        ],
    )


def _protocols(as_json: bool) -> None:
    from ssdd_bench.harness.protocol import PROTOCOLS

    if as_json:
        _print_json({"protocols": [protocol.record() for protocol in PROTOCOLS.values()]})
        return
    print_columns(
        ("id", "scores", "what", "sha256"),
        [(one.id, one.kind, one.description, one.sha256[:12]) for one in PROTOCOLS.values()],
    )


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
    from ssdd_bench.manifest import format_value

    return f"{option.name}={format_value(option.default)}"


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, default=str))
