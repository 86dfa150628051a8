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

from ssdd_bench.cli._complete import (
    Complete,
    complete_data,
    complete_metrics,
    complete_protocol,
    complete_protocols,
    complete_tokenizers,
)

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


def _option(
    name: str,
    help: str,
    type: Any = None,
    default: Any = None,
    *,
    metavar: str | None = None,
    completion: Complete | None = None,
    required: bool = False,
) -> Callable[[FC], FC]:
    """Return an option that shows its default, if it has one."""
    # click takes an explicit None for a value, with which a required option would be satisfied.
    settings = {} if default is None else {"default": default}
    return click.option(
        name,
        **settings,
        type=type,
        show_default=default not in (None, ""),
        required=required,
        metavar=metavar,
        shell_complete=completion,
        help=help,
    )


# What is measured or trained.

tokenizers: Final = _option(
    "--tokenizers",
    "Ids with options: ssdd:steps=1,2,klvae",
    Requests(),
    completion=complete_tokenizers,
    required=True,
)
tokenizer: Final = _option(
    "--tokenizer",
    "Id with options: ssdd, klvae:path=DIR",
    metavar="ID",
    completion=complete_tokenizers,
    required=True,
)
decoders: Final = _option(
    "--decoders",
    "That share its encoder: ssdd,diffusion:steps=1,4  [default: its own]",
    Requests(),
    "",
    completion=complete_tokenizers,
)
resolutions: Final = _option(
    "--res",
    "Sides of the images in pixels: 256,512",
    CommaList(COUNT, "256,512"),
    "256",
    metavar="PX,...",
)
limit: Final = _option("--limit", "Use so many of the images.", COUNT, metavar="N")
seed: Final = _option("--seed", "Seed of the noise.", SEED, 0, metavar="N")
seeds: Final = _option(
    "--seed", "Seeds of the noise: 0,1,2", CommaList(SEED, "0,1,2"), "0", metavar="N,..."
)


def resolution(
    default: int | None = None,
    required: bool = False,
    help: str = "Side of the images in pixels.",
) -> Callable[[FC], FC]:
    """Return ``--res`` for a single resolution."""
    return _option("--res", help, COUNT, default, metavar="PX", required=required)


def data(missing: str = "", required: bool = False) -> Callable[[FC], FC]:
    """Return ``--data``; ``missing`` says what stands in for images where none are given."""
    text = "Name (list data), folder, .tar, .npz or .parquet."
    text += f"  [default: {missing}]" if missing else ""
    return _option("--data", text, PATH, completion=complete_data, required=required)


def out(help: str, default: str | None = None) -> Callable[[FC], FC]:
    """Return ``--out``, which is required unless it has a default."""
    return _option("--out", help, PATH, default, required=default is None)


# Scores.

reference: Final = _option(
    "--reference", "Images to compare with, or an npz with mu and sigma.", PATH, required=True
)
reference_limit: Final = _option(
    "--reference-limit", "Use so many of the reference images.", COUNT, metavar="N"
)
protocols: Final = _option(
    "--protocol",
    "Protocols: default-v1,ssdd-paper-v1",
    CommaList(str, "default-v1,ssdd-paper-v1"),
    "default-v1",
    metavar="IDS",
    completion=complete_protocols,
)
label: Final = _option("--label", "Name in tables.  [default: the name of the images]", default="")
intervals: Final = click.option(
    "--intervals/--no-intervals", help="Add confidence intervals and FD-infinity: slower."
)
strict: Final = click.option(
    "--strict/--no-strict", help="Fail if an image is unreadable or a metric unavailable."
)
offline: Final = click.option(
    "--offline/--no-offline", help="Fetch no weights: fail at once if one is missing."
)


def protocol(default: str) -> Callable[[FC], FC]:
    """Return ``--protocol`` for a single protocol."""
    text = "Protocol: list protocols."
    return _option("--protocol", text, default=default, metavar="ID", completion=complete_protocol)


def metrics(completion: Complete = complete_metrics) -> Callable[[FC], FC]:
    """Return ``--metrics``, completed by the keys that the verb takes."""
    kind = CommaList(str, "psnr,ssim", length=0)
    text = "Keys, comma-separated.  [default: the protocol's]"
    return _option("--metrics", text, kind, "", metavar="KEYS", completion=completion)


# How it runs.

device: Final = _option(
    "--device", "Device: auto, cpu, cuda, cuda:1", default="auto", metavar="NAME"
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
    text = f"Images in a batch{f' on a GPU; a CPU takes {on_cpu}' if on_cpu else ''}."
    return _option("--batch-size", text, COUNT, default, metavar="N")


# Training.

iterations: Final = _option(
    "--iterations", "Iterations, instead of the recipe's.", COUNT, metavar="N"
)
minutes: Final = _option(
    "--minutes",
    "Stop after this time in all, resumed runs included.",
    click.FloatRange(min=0),
    metavar="N",
)
restart: Final = click.option(
    "--restart", is_flag=True, help="Start from scratch instead of resuming."
)


def recipe(default: str, known: str) -> Callable[[FC], FC]:
    """Return ``--recipe``, with some of the names it takes."""
    return _option("--recipe", f"Name or .toml: {known}", default=default, metavar="NAME")


# Sampling.

dit: Final = _option(
    "--dit", "Weights or their folder; DiT or SiT checkpoint.  [default: a shipped one]", PATH
)
labels: Final = _option(
    "--labels",
    "Equally many of each class, or random ones.",
    click.Choice(["equal", "random"]),
    "equal",
)
sampler: Final = _option(
    "--sampler",
    "Solver.  [default: euler for flows, ddpm for DDPM]",
    click.Choice(["euler", "heun", "ddpm"]),
)
cfg: Final = _option("--cfg", "Guidance; 1 is none.", float, 1.0, metavar="SCALE")
cfgs: Final = _option(
    "--cfg",
    "One or more guidance scales; 1 is none.",
    CommaList(float, "1,1.5"),
    "1",
    metavar="SCALE,...",
)
cfg_interval: Final = _option(
    "--cfg-interval",
    "Times of guidance: 1 is noise, 0 the image.",
    CommaList(float, "0,0.9", length=2),
    "0,1",
    metavar="FROM,TO",
)
cfg_channels: Final = _option(
    "--cfg-channels", "Guided channels.  [default: all]", COUNT, metavar="N"
)


def samples(default: int) -> Callable[[FC], FC]:
    """Return ``--samples``, the number of images."""
    return _option("--samples", "Images to sample.", COUNT, default, metavar="N")


def steps(default: int) -> Callable[[FC], FC]:
    """Return ``--steps`` of the sampler."""
    return _option("--steps", "Steps of the sampler.", COUNT, default, metavar="N")
