"""``ssdd-bench run``: measure tokenizers at resolutions and show the table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli._typed import typed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ssdd_bench.harness.cell import Cell
    from ssdd_bench.harness.run import Finished, Listener, RunPlan


def _integers(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of sizes such as 256,512") from None
    if not values or min(values) < 1:
        raise click.BadParameter("give at least one size of 1 px or more")
    return values


def _seeds(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(click.IntRange(min=0)(part) for part in text.replace(",", " ").split()) or (0,)
    except click.BadParameter as error:
        raise click.BadParameter(f"{error.message} Give seeds such as 0,1,2") from None


def _names(ctx: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())


@click.command("run", short_help="Measure tokenizers and show the table.")
@click.option("--tokenizers", required=True, help="Ids with options: ssdd:steps=1,2,klvae")
@click.option(
    "--res", default="256", show_default=True, callback=_integers, help="Sides in pixels: 256,512"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder, .tar shards, .npz or .parquet.  [default: the sample photographs]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Use so many images of it.")
@click.option("--seed", default="0", show_default=True, callback=_seeds, help="One or more: 0,1,2")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Images a call on a GPU; a CPU takes one.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--metrics", callback=_names, help="Keys.  [default: the protocol's]")
@click.option(
    "--protocol",
    callback=_names,
    default="default-v1",
    show_default=True,
    help="One or more: default-v1,ssdd-paper-v1",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the results.",
)
@click.option("--no-speed", is_flag=True, help="Do not time encoding and decoding.")
@click.option("--no-pictures", is_flag=True, help="Do not save sample reconstructions.")
@click.option("--ci", is_flag=True, help="Intervals and the limit of Fréchet distances: slower.")
@click.option("--strict", is_flag=True, help="An unreadable image or absent metric is an error.")
@click.option("--offline", is_flag=True, help="Fetch no weights: fail at once if one is missing.")
@click.option("--force", is_flag=True, help="Measure again what is there already.")
@click.option("--dry-run", is_flag=True, help="Show the cells and leave.")
@click.option("--quiet", is_flag=True, help="Neither progress nor table.")
def command(
    tokenizers: str,
    res: tuple[int, ...],
    data: Path | None,
    limit: int | None,
    seed: tuple[int, ...],
    batch_size: int,
    device: str,
    metrics: tuple[str, ...],
    protocol: tuple[str, ...],
    out: Path,
    no_speed: bool,
    no_pictures: bool,
    ci: bool,
    strict: bool,
    offline: bool,
    force: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Measure every tokenizer at every resolution.

    Results that are there already are kept: a run that was stopped goes on where it was.
    """
    from rich.console import Console

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.errors import CellsFailedError
    from ssdd_bench.harness.run import RunPlan, run
    from ssdd_bench.registry import parse_requests

    plan = RunPlan(
        requests=tuple(parse_requests(tokenizers)),
        resolutions=res,
        metrics=metrics,
        out=out,
        protocols=protocol,
        data=data,
        limit=limit,
        seeds=seed,
        batch_size=batch_size,
        device=device,
        speed=not no_speed,
        pictures=not no_pictures,
        strict=strict,
        intervals=ci,
        force=force,
        command=typed(),
    )
    if dry_run:
        for cell in plan.cells():
            click.echo(cell.name)
        return

    fetch_weights(metrics, offline, strict, Console(stderr=True, quiet=quiet))
    progress = _progress(Console(stderr=True, quiet=quiet))
    with progress:
        outcome = run(plan, _listener(progress))
    if outcome.finished:
        _report(plan, [finished.path for finished in outcome.finished], quiet)
    for failure in outcome.failures:
        if "--debug" in sys.argv:
            raise failure.error
        click.echo(f"failed: {failure}", err=True)
    if outcome.failures:
        failed = sum(failure.cells for failure in outcome.failures)
        raise CellsFailedError(f"{failed} of {len(plan.cells())} cells failed, see above")


def _report(plan: RunPlan, paths: list[Path], quiet: bool) -> None:
    """Write the table and the figure of this run's results, and print the table."""
    from ssdd_bench.cli._tables import default_metric, has_speed, show_table, write_text
    from ssdd_bench.report.plots import quality_speed_plot
    from ssdd_bench.report.rows import load_frame
    from ssdd_bench.report.tables import to_markdown

    frame = load_frame(paths)
    written = [write_text(plan.out / "table.md", to_markdown(frame))]
    metric = default_metric(frame)
    if metric and has_speed(frame):
        written.append(plan.out / "quality-vs-speed.png")
        quality_speed_plot(frame, metric, written[-1])
    if quiet:
        return
    show_table(frame)
    pictures = ["samples/"] if plan.pictures else []
    for name in [*(path.name for path in written), *pictures, f"{len(paths)} result files"]:
        click.echo(f"{plan.out}: {name}", err=True)


def _progress(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _listener(progress: Progress) -> Listener:
    from ssdd_bench.harness.run import Listener

    class Bars(Listener):
        """One bar per cell: images done, images per second, then what follows them."""

        def cell_started(self, cell: Cell, number: int, total: int, images: int) -> None:
            self.task = progress.add_task(f"[{number}/{total}] {cell.name}", total=images, state="")

        def images_done(self, count: int) -> None:
            progress.advance(self.task, count)
            speed = progress.tasks[self.task].speed
            progress.update(self.task, state=f"{speed:.2f} images/s" if speed else "")

        def stage(self, name: str) -> None:
            progress.update(self.task, state=name)

        def cell_finished(self, finished: Finished) -> None:
            if finished.reused:
                result = finished.result
                progress.console.print(
                    f"kept {result.tokenizer.label} at {result.resolution} px: {finished.path}",
                    soft_wrap=True,
                )
            else:
                progress.update(self.task, state="done")

    return Bars()
