"""Options that several verbs share, each defined once, and the types of their values.

Constants are options that are the same everywhere. Functions return options that differ in their
default or their help.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from click.decorators import FC

from ssdd_bench.cli import _complete as complete
from ssdd_bench.cli._complete import Complete

PATH: Final = click.Path(path_type=Path)
COUNT: Final = click.IntRange(min=1)
SEED: Final = click.IntRange(min=0)


class CommaList(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """A list such as ``256,512``, separated by commas or blanks; becomes a tuple.

    Args:
        item: type of the items.
        example: a valid list, for error messages.
        length: number of items; None for one or more, 0 for any number.
    """

    name = "list"

    def __init__(self, item: Any, example: str, length: int | None = None) -> None:
        self.item = click.types.convert_type(item)
        self.example = example
        self.length = length

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split a text; a list, as of a configuration file, has its items converted."""
        many = isinstance(value, list | tuple)
        pieces = value if many else str(value).replace(",", " ").split()
        try:
            items = tuple(self.item.convert(piece, param, ctx) for piece in pieces)
        except click.BadParameter as error:
            self.fail(f"{error.message} Write a list such as {self.example}.", param, ctx)
        if self.length != 0 and len(items) != (self.length or max(len(items), 1)):
            self.fail(f"'{value}' has {len(items)} items. Write {self.example}.", param, ctx)
        return items


class Requests(click.ParamType):  # type: ignore[type-arg]
    """Tokenizers with options, as one text; a list of a configuration file is joined."""

    name = "ids"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Join what is not a text yet."""
        return value if isinstance(value, str) else " ".join(value)


class Shard(click.ParamType):  # type: ignore[type-arg]
    """A share of the work such as ``0/2``, the first of two processes; becomes (index, count)."""

    name = "i/n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Split the text and check that the index is below the count."""
        try:
            index, count = (int(piece) for piece in value.split("/"))
        except ValueError:
            self.fail(f"'{value}' is no shard. Write 0/2 for the first of two.", param, ctx)
        if not 0 <= index < count:
            self.fail(f"'{value}': {count} shards are 0/{count} to {count - 1}/{count}", param, ctx)
        return index, count


def _set_threads(ctx: click.Context, option: click.Parameter, count: int | None) -> None:
    if count is not None and not ctx.resilient_parsing:
        import torch

        torch.set_num_threads(count)


# What is measured or trained.

tokenizers: Final = click.option(
    "--tokenizers",
    type=Requests(),
    required=True,
    shell_complete=complete.complete_tokenizers,
    help="Ids with options: ssdd:steps=1,2,klvae",
)
tokenizer: Final = click.option(
    "--tokenizer",
    required=True,
    metavar="ID",
    shell_complete=complete.complete_tokenizers,
    help="Id with options: ssdd, klvae:path=DIR",
)
resolutions: Final = click.option(
    "--res",
    type=CommaList(COUNT, "256,512"),
    default="256",
    show_default=True,
    metavar="PX,...",
    help="Sides of the images in pixels: 256,512",
)
limit: Final = click.option("--limit", type=COUNT, metavar="N", help="Use so many of the images.")
seed: Final = click.option(
    "--seed", type=SEED, default=0, show_default=True, metavar="N", help="Seed of the noise."
)
seeds: Final = click.option(
    "--seed",
    type=CommaList(SEED, "0,1,2"),
    default="0",
    show_default=True,
    metavar="N,...",
    help="Seeds of the noise: 0,1,2",
)


def resolution(
    default: int | None = None, required: bool = False, help: str = "Side of the images in pixels."
) -> Callable[[FC], FC]:
    """Return ``--res`` for a single resolution."""
    return click.option(
        "--res",
        type=COUNT,
        default=default,
        show_default=default is not None,
        required=required,
        metavar="PX",
        help=help,
    )


def data(missing: str = "", required: bool = False) -> Callable[[FC], FC]:
    """Return ``--data``; ``missing`` says what stands in for images where none are given."""
    text = "Name (list data), folder, .tar, .npz or .parquet."
    return click.option(
        "--data",
        type=PATH,
        required=required,
        shell_complete=complete.complete_data,
        help=f"{text}  [default: {missing}]" if missing else text,
    )


def out(help: str, default: str | None = None) -> Callable[[FC], FC]:
    """Return ``--out``, which is required unless it has a default."""
    return click.option(
        "--out",
        type=PATH,
        default=default,
        show_default=default is not None,
        required=default is None,
        help=help,
    )


# Scores.

protocols: Final = click.option(
    "--protocol",
    type=CommaList(str, "default-v1,ssdd-paper-v1"),
    default="default-v1",
    show_default=True,
    metavar="IDS",
    shell_complete=complete.complete_protocols,
    help="Protocols: default-v1,ssdd-paper-v1",
)
intervals: Final = click.option(
    "--intervals/--no-intervals",
    help="Add confidence intervals and FD-infinity: slower.",
)
strict: Final = click.option(
    "--strict/--no-strict", help="Fail if an image is unreadable or a metric unavailable."
)
offline: Final = click.option(
    "--offline/--no-offline", help="Fetch no weights: fail at once if one is missing."
)

reference_limit: Final = click.option(
    "--reference-limit", type=COUNT, metavar="N", help="Use so many of the reference images."
)


def protocol(default: str) -> Callable[[FC], FC]:
    """Return ``--protocol`` for a single protocol."""
    return click.option(
        "--protocol",
        default=default,
        show_default=True,
        metavar="ID",
        shell_complete=complete.complete_protocol,
        help="Protocol: list protocols.",
    )


def metrics(completion: Complete = complete.complete_metrics) -> Callable[[FC], FC]:
    """Return ``--metrics``, completed by the keys that the verb takes."""
    return click.option(
        "--metrics",
        type=CommaList(str, "psnr,ssim", length=0),
        default="",
        metavar="KEYS",
        shell_complete=completion,
        help="Keys, comma-separated.  [default: the protocol's]",
    )


# How it runs.

device: Final = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Device: auto, cpu, cuda, cuda:1",
)
threads: Final = click.option(
    "--threads",
    type=COUNT,
    callback=_set_threads,
    expose_value=False,
    metavar="N",
    help="CPU threads.  [default: all]",
)
shard: Final = click.option(
    "--shard",
    type=Shard(),
    default="0/1",
    metavar="I/N",
    help="This is process I of N, from 0 on.",
)
quiet: Final = click.option("--quiet", is_flag=True, help="Show neither progress nor a table.")


def batch_size(default: int, on_cpu: str = "") -> Callable[[FC], FC]:
    """Return ``--batch-size``; ``on_cpu`` is the size that a CPU takes instead, if any."""
    return click.option(
        "--batch-size",
        type=COUNT,
        default=default,
        show_default=True,
        metavar="N",
        help=f"Images in a batch on a GPU; a CPU takes {on_cpu}."
        if on_cpu
        else "Images in a batch.",
    )


# Training.

iterations: Final = click.option(
    "--iterations", type=COUNT, metavar="N", help="Iterations, instead of the recipe's."
)
minutes: Final = click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    metavar="N",
    help="Stop after this time in all, resumed runs included.",
)
restart: Final = click.option(
    "--restart", is_flag=True, help="Start from scratch instead of resuming."
)


def recipe(default: str, known: str) -> Callable[[FC], FC]:
    """Return ``--recipe``, with some of the names it takes."""
    return click.option(
        "--recipe",
        default=default,
        show_default=True,
        metavar="NAME",
        help=f"Name or .toml: {known}",
    )


# Sampling.

dit: Final = click.option(
    "--dit",
    type=PATH,
    help="Weights or their folder; DiT or SiT checkpoint.  [default: a shipped one]",
)
labels: Final = click.option(
    "--labels",
    type=click.Choice(["equal", "random"]),
    default="equal",
    show_default=True,
    help="Equally many of each class, or random ones.",
)
sampler: Final = click.option(
    "--sampler",
    type=click.Choice(["euler", "heun", "ddpm"]),
    help="Solver.  [default: euler for flows, ddpm for DDPM]",
)
cfg: Final = click.option(
    "--cfg",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SCALE",
    help="Guidance; 1 is none.",
)
cfg_interval: Final = click.option(
    "--cfg-interval",
    type=CommaList(float, "0,0.9", length=2),
    default="0,1",
    show_default=True,
    metavar="FROM,TO",
    help="Times of guidance: 1 is noise, 0 the image.",
)
cfg_channels: Final = click.option(
    "--cfg-channels", type=COUNT, metavar="N", help="Guided channels.  [default: all]"
)


def samples(default: int) -> Callable[[FC], FC]:
    """Return ``--samples``, the number of images."""
    return click.option(
        "--samples",
        type=COUNT,
        default=default,
        show_default=True,
        metavar="N",
        help="Images to sample.",
    )


def steps(default: int) -> Callable[[FC], FC]:
    """Return ``--steps`` of the sampler."""
    return click.option(
        "--steps",
        type=COUNT,
        default=default,
        show_default=True,
        metavar="N",
        help="Steps of the sampler.",
    )
