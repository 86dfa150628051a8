"""``ssdd-bench gen all``: from folders of images to rows of generation scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._complete import complete_generation_metrics
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._training import check_installed, run_trainer
from ssdd_bench.cli._typed import typed
from ssdd_bench.evaluation.progress import progress_bar

if TYPE_CHECKING:
    from ssdd_bench.generation.sampler import Method


@click.command("all", short_help="Encode, train, sample and score in one go.")
@options.tokenizer
@options.decoders
@options.data("none: take --dit")
@options.dit
@options.limit
@options.reference
@options.reference_limit
@options.resolution()
@options.out("Folder of everything.")
@options.recipe("nano", "nano, nano-1, xl-2")
@options.iterations
@options.minutes
@options.samples(50_000)
@options.labels
@options.sampler
@options.steps(250)
@options.cfgs
@options.cfg_interval
@options.cfg_channels
@options.seeds
@options.protocol("gfid-v1")
@options.metrics(complete_generation_metrics)
@options.batch_size(64, on_cpu="16")
@options.threads
@options.device
@options.offline
@options.quiet
@json_option
def command(
    tokenizer: str,
    decoders: str,
    data: Path | None,
    dit: Path | None,
    limit: int | None,
    reference: Path,
    reference_limit: int | None,
    res: int | None,
    out: Path,
    recipe: str,
    iterations: int | None,
    minutes: float | None,
    samples: int,
    labels: Literal["equal", "random"],
    sampler: Method | None,
    steps: int,
    cfg: tuple[float, ...],
    cfg_interval: tuple[float, float],
    cfg_channels: int | None,
    seed: tuple[int, ...],
    protocol: str,
    metrics: tuple[str, ...],
    batch_size: int,
    device: str,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode, train, sample with every decoder, scale and seed, and score.

    OUT gets latents, dit, samples and results. What is there is kept: the same command resumes.
    Without --data nothing is encoded or trained: a trained DiT samples for other decoders,
    guidance or seeds.
    """
    from rich.console import Console

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.cli._tables import show_table, write_text
    from ssdd_bench.data.images import open_images
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.evaluation.loading import load
    from ssdd_bench.generation.batches import SamplesConfig
    from ssdd_bench.generation.pipeline import PipelineConfig, TrainConfig, run_pipeline
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.plugins.registry import parse_requests
    from ssdd_bench.report.frame import to_frame
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown
    from ssdd_bench.train.recipe import DiTRecipe, load_recipe

    if data and (dit or not res):
        raise click.UsageError("--data needs --res, and trains a DiT: leave --dit out")
    if not data and (res or limit or iterations or minutes):
        raise click.UsageError(
            "without --data nothing is trained: leave --res, --limit, --iterations, --minutes out"
        )
    fetch_weights(metrics, offline, False, Console(stderr=True, quiet=quiet))
    chosen = choose_device(device)
    encoder = load(tokenizer, chosen)
    requests = parse_requests(decoders or tokenizer)
    model: Path | TrainConfig | None = dit
    if data and res:
        check_installed()
        model = TrainConfig(
            open_images(data, limit),
            res,
            load_recipe(recipe, DiTRecipe),
            recipe,
            run=lambda trainer: run_trainer(
                trainer, iterations or trainer.schedule.iterations, minutes, False, quiet
            ),
        )
    config = PipelineConfig(
        out=out,
        samples=SamplesConfig(
            out=out,
            samples=samples,
            labels=labels,
            settings=SamplerSettings(steps=steps, interval=cfg_interval, cfg_channels=cfg_channels),
            batch_size=batch_size,
            command=typed(),
        ),
        method=sampler,
        scales=cfg,
        seeds=seed,
        reference=reference,
        protocol=protocol,
        metrics=metrics,
        reference_limit=reference_limit,
    )

    @contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
        with progress_bar(title, total, quiet=quiet) as bar:
            yield bar.images_done

    trained, results = run_pipeline(
        encoder,
        [load(one.label, chosen) for one in requests],
        model,
        config,
        chosen,
        progress,
    )
    frame = to_frame([one.record for one in results])
    path = write_text(out / "results" / "table.md", to_markdown(build_tables(frame)))
    if as_json:
        jobs = [describe_result(one, one.path) for one in results]
        print_json({"dit": trained, "table": path, "jobs": jobs})
    elif not quiet:
        show_table(frame)
        click.echo(f"{path} and {len(results)} result files beside it", err=True)
