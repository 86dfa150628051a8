"""``ssdd-bench gen speed``: how fast DiTs of several sizes sample several latents."""

from __future__ import annotations

import click

from ssdd_bench.cli._json import json_option, print_json


@click.command("speed", short_help="Time sampling by size of DiT and by latent.")
@click.option("--sizes", default="S,B,XL", show_default=True)
@click.option("--latents", default="f8c4,f16c4", show_default=True)
@click.option("--res", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--patch", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=250, show_default=True)
@click.option("--cfg", type=float, default=1.0, show_default=True, help="Guidance; 1 is none.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@json_option
def command(
    sizes: str,
    latents: str,
    res: int,
    patch: int,
    steps: int,
    cfg: float,
    batch_size: int,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Time sampling with random weights, in float32, and count its work. Decoding is apart."""
    import torch

    from ssdd_bench.cli._tables import print_columns
    from ssdd_bench.evaluation.environment import choose_device, describe_environment
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.speed import measure_sampling, parse_latent

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    settings = SamplerSettings("euler", steps, cfg)
    settings.check("flow")
    shapes = [parse_latent(text, res) for text in latents.replace(",", " ").split()]
    names = sizes.replace(",", " ").split()
    rows = list(measure_sampling(names, shapes, patch, settings, batch_size, chosen))
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
