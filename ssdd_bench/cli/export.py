"""``ssdd-bench export``: a tokenizer's networks for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._values import complete_tokenizers
from ssdd_bench.cli._verbs import NumberRange, argument, option, verb


@verb
def command(
    tokenizer: Annotated[str, argument(complete=complete_tokenizers)],
    out: Annotated[Path, argument()],
    format: Annotated[
        Literal["diffusers", "onnx", "torchscript"],
        option("Write a folder of diffusers, or an encoder and a decoder as programs."),
    ] = "diffusers",
    res: options.Resolution = 256,
    tolerance: Annotated[
        float,
        option("Allow a program to differ so much from its network.", "X", NumberRange(0)),
    ] = 1e-3,
) -> None:
    """Export a tokenizer's networks for other programs.

    TOKENIZER is an id with options: one with SSDD's networks, or an image autoencoder of diffusers.
    OUT is a folder. Programs take images of --res pixels; the largest difference of each from its
    network is printed.
    """
    from ssdd_bench.diffusers.export import as_autoencoder, export_folder, export_programs
    from ssdd_bench.plugins.registry import load_tokenizer

    model = as_autoencoder(load_tokenizer(tokenizer))
    if format == "diffusers":
        found = export_folder(model, out)
    else:
        found = export_programs(model, out, format, res, tolerance)
    if not print_json({"path": out, "format": format, "differences": found}):
        for name, difference in found.items():
            click.echo(f"{name}\tdiffers from the network by {difference:.2g} at most")
        click.echo(out, err=True)
