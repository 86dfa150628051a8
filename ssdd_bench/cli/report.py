"""``ssdd-bench report``: tables and figures from result files, without running a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

WIDTH = 120  # of tables in files and pipes, which have no width of their own

# In a checkout; an installed package has no such folder and draws no published figure.
_PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"


@click.command("report", short_help="Tables and figures from result files.")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder for table.md, table.csv and the figures.",
)
@click.option(
    "--metric",
    help="Quality in the figure.  [default: fd_effnet, or else the first metric measured]",
)
@click.option(
    "--published",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of published numbers.  [default: results/published of the checkout, if any]",
)
def command(
    results: tuple[Path, ...], out: Path, metric: str | None, published: Path | None
) -> None:
    """Make tables and figures from RESULTS, which are result files or folders of them."""
    from rich.console import Console

    from ssdd_bench.errors import OutputError, UserError
    from ssdd_bench.report.plots import published_plot, quality_speed_plot
    from ssdd_bench.report.published import load_published
    from ssdd_bench.report.rows import check_metric, metric_directions, to_frame
    from ssdd_bench.report.tables import print_table, to_csv, to_markdown
    from ssdd_bench.results import load_results

    frame = to_frame(load_results(results))
    if metric is None:
        measured = list(metric_directions(frame))
        if not measured:
            raise UserError("the results hold no metric: nothing to report")
        metric = "fd_effnet" if "fd_effnet" in measured else measured[0]
    check_metric(frame, metric)
    if published is None and _PUBLISHED.is_dir():
        published = _PUBLISHED

    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (("table.md", to_markdown(frame)), ("table.csv", to_csv(frame))):
            (out / name).write_text(text, encoding="utf-8")
            written.append(out / name)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error

    if (frame["decode_ips"] > 0).any():
        for suffix in (".png", ".svg"):
            path = out / f"quality-vs-speed{suffix}"
            quality_speed_plot(frame, metric, path)
            written.append(path)
    else:
        click.echo("no decode timings in these results: no quality-vs-speed figure", err=True)
    if published is not None:
        path = out / "published-figure.png"
        files = load_published(published)
        published_plot([row for file in files.values() for row in file.rows], path)
        written.append(path)
    else:
        click.echo("no published numbers here: no published-figure.png (--published)", err=True)

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    print_table(frame, Console(width=WIDTH if fixed else None))
    for path in written:
        click.echo(f"wrote {path}", err=True)
