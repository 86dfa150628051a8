"""``ssdd-bench report``: tables and figures from result files, without running a network."""

from __future__ import annotations

from pathlib import Path

import click

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
    from ssdd_bench.cli._tables import default_metric, has_speed, show_table, write_text
    from ssdd_bench.errors import UserError
    from ssdd_bench.report.plots import published_plot, quality_speed_plot
    from ssdd_bench.report.published import load_published
    from ssdd_bench.report.rows import check_metric, load_frame
    from ssdd_bench.report.tables import to_csv, to_markdown

    frame = load_frame(results)
    metric = metric or default_metric(frame)
    if metric is None:
        raise UserError("the results hold no metric: nothing to report")
    check_metric(frame, metric)
    if published is None and _PUBLISHED.is_dir():
        published = _PUBLISHED

    written = [
        write_text(out / "table.md", to_markdown(frame)),
        write_text(out / "table.csv", to_csv(frame)),
    ]
    if has_speed(frame):
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

    show_table(frame)
    for path in written:
        click.echo(f"wrote {path}", err=True)
