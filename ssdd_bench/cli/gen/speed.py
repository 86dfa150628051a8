"""``ssdd-bench gen speed``: time sampling by size of the DiT and shape of the latents."""

from __future__ import annotations

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json


@click.command("speed", short_help="Time sampling by size of DiT and by latent.")
@click.option(
    "--sizes",
    type=options.CommaList(str, "S,B,XL"),
    default="S,B,XL",
    show_default=True,
    metavar="SIZES",
    help="Sizes of the DiT.",
)
@click.option(
    "--shapes",
    type=options.CommaList(str, "f8c4,f16c4"),
    default="f8c4,f16c4",
    show_default=True,
    metavar="LATENTS",
    help="Latents, by their reduction and channels.",
)
@options.resolution(default=256)
@click.option(
    "--patch",
    type=options.COUNT,
    default=2,
    show_default=True,
    metavar="N",
    help="Side of a DiT's patches in latent cells.",
)
@options.steps(250)
@options.cfg
@options.batch_size(1)
@options.threads
@options.device
@json_option
def command(
    sizes: tuple[str, ...],
    shapes: tuple[str, ...],
    res: int,
    patch: int,
    steps: int,
    cfg: float,
    batch_size: int,
    device: str,
    as_json: bool,
) -> None:
    """Time sampling with random weights in float32, and count its operations.

    The times are those of the DiT alone, without a decoder.
    """
    import torch

    from ssdd_bench.cli._tables import print_columns
    from ssdd_bench.evaluation.environment import choose_device, describe_environment
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.speed import measure_sampling, parse_latent

    chosen = choose_device(device)
    settings = SamplerSettings("euler", steps, cfg)
    settings.check("flow")
    latents = [parse_latent(text, res) for text in shapes]
    rows = list(measure_sampling(sizes, latents, patch, settings, batch_size, chosen))
    if as_json:
        print_json({"environment": describe_environment(chosen), "rows": rows})
        return
    first = {row.model: row for row in reversed(rows)}
    print_columns(
        (
            "model",
            "latent",
            "tokens",
            "params M",
            "GMAC/eval",
            "ms/eval",
            "evals",
            "img/s",
            "speed-up",
            "less work",
        ),
        [
            (
                row.model,
                row.latent,
                str(row.tokens),
                f"{row.params / 1e6:.1f}",
                f"{row.gmac:.2f}",
                f"{1000 * row.median_s / row.batch:.1f} ±{500 * (row.q3_s - row.q1_s):.1f}",
                str(row.evaluations),
                f"{row.images_per_s:.3g}",
                f"{row.images_per_s / first[row.model].images_per_s:.2f}",
                f"{first[row.model].gmac / row.gmac:.2f}",
            )
            for row in rows
        ],
    )
    threads_used = torch.get_num_threads()
    click.echo(
        f"{res} px, patch {patch}, batch {batch_size}, float32, {chosen.type}, {threads_used} "
        "threads; img/s of the model alone, without decoding",
        err=True,
    )
