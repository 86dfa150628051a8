"""``ssdd-bench gen speed``: time sampling by size of the DiT and shape of the latents."""

from __future__ import annotations

from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._values import CommaList
from ssdd_bench.cli._verbs import option, verb
from ssdd_bench.errors import counted


@verb
def command(
    sizes: Annotated[
        tuple[str, ...],
        option("Time these sizes of the DiT.", "SIZES", CommaList(str, "S,B,XL")),
    ] = ("S", "B", "XL"),
    shapes: Annotated[
        tuple[str, ...],
        option(
            "Time these latents, by their reduction and channels.",
            "LATENTS",
            CommaList(str, "f8c4,f16c4"),
        ),
    ] = ("f8c4", "f16c4"),
    res: options.Resolution = 256,
    patch: Annotated[int, option("Set the side of a DiT's patches in latent pixels.", "N")] = 2,
    steps: options.Steps = 250,
    cfg: options.Guidance = 1.0,
    batch_size: Annotated[int, option("Put so many images into a batch.", "N")] = 1,
    dtype: options.NetworkDtype = "float32",
    compile: options.Compile = "off",
    threads: options.Threads | None = None,
    device: options.Device = "auto",
) -> None:
    """Time sampling by size of DiT and by latent.

    The DiTs have random weights. Operations are counted, and decoders left out.
    """
    import torch

    from ssdd_bench.evaluation.environment import choose_device, describe_environment
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.speed import measure_sampling

    options.set_threads(threads)
    chosen = choose_device(device)
    settings = SamplerSettings("euler", steps, cfg)
    settings.check("flow")
    rows = list(
        measure_sampling(sizes, shapes, res, patch, settings, batch_size, chosen, dtype, compile)
    )
    if print_json({"environment": describe_environment(chosen), "rows": rows}):
        return
    first = {row.model: row for row in reversed(rows)}
    print_columns(
        [
            {
                "model": row.model,
                "latent": row.latent,
                "tokens": row.tokens,
                "params M": f"{row.params / 1e6:.1f}",
                "GMAC/eval": f"{row.gmac:.2f}",
                "ms/eval": f"{1000 * row.median_s / row.batch:.1f} "
                f"±{500 * (row.q3_s - row.q1_s):.1f}",
                "evals": row.evaluations,
                "img/s": f"{row.images_per_s:.3g}",
                "speed-up": f"{row.images_per_s / first[row.model].images_per_s:.2f}",
                "less work": f"{first[row.model].gmac / row.gmac:.2f}",
            }
            for row in rows
        ]
    )
    click.echo(
        f"{res} px, patch {patch}, batch {batch_size}, {dtype}, compile {compile}, {chosen.type}, "
        f"{counted(torch.get_num_threads(), 'thread')}; img/s of the model alone, without decoding",
        err=True,
    )
