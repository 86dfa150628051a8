"""``ssdd-bench report``: tables, figures and a page from result files, running no network."""

from __future__ import annotations

from pathlib import Path

import click

# In a checkout; an installed package has no such folder and draws no published figure.
_PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"


@click.command("report", short_help="Tables, figures and a web page from result files.")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder for the page, the tables and the figures.",
)
@click.option(
    "--metric",
    help="Quality in the figures.  [default: fd_effnet, or else the first metric measured]",
)
@click.option(
    "--published",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of published numbers.  [default: results/published of the checkout, if any]",
)
def command(
    results: tuple[Path, ...], out: Path, metric: str | None, published: Path | None
) -> None:
    """Make tables, figures and a web page from RESULTS: result files or folders of them.

    The page, index.html, holds everything it shows and opens from disk.
    """
    from ssdd_bench.cli._tables import default_metric, has_speed, show_table
    from ssdd_bench.errors import UserError
    from ssdd_bench.report.build import build_report
    from ssdd_bench.report.loading import load_source
    from ssdd_bench.report.published import load_published
    from ssdd_bench.report.rows import check_metric

    source = load_source(results)
    metric = metric or default_metric(source.frame)
    if metric is None:
        raise UserError("the results hold no metric: nothing to report")
    check_metric(source.frame, metric)
    if published is None and _PUBLISHED.is_dir():
        published = _PUBLISHED
    printed = load_published(published) if published is not None else {}
    if not has_speed(source.frame):
        click.echo("no decode timings in these results: no figures of speed", err=True)
    if not printed:
        click.echo("no published numbers here: no published-figure (--published)", err=True)

    written = list(build_report(source, printed, metric, out))
    show_table(source.frame)
    for path in written:
        click.echo(f"wrote {path}", err=True)
