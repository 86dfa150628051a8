"""``ssdd-bench report``: tables, figures and a page from result files, running no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli._json import json_option, print_json

if TYPE_CHECKING:
    from ssdd_bench.report.tags import TagsOfSets

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
    help="Quality in the figures.  [default: the first metric of the table]",
)
@click.option(
    "--published",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of published numbers.  [default: results/published of the checkout, if any]",
)
@click.option(
    "--insert",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Page, such as README.md, to put a short table into: docs/shell.md.",
)
@click.option("--by-tag", is_flag=True, help="Add tables by subject of the images.")
@click.option(
    "--tags",
    type=click.Path(path_type=Path),
    help="Subjects of images, for --by-tag.  [default: tags.toml of the data set]",
)
@json_option
def command(
    results: tuple[Path, ...],
    out: Path,
    metric: str | None,
    published: Path | None,
    insert: Path | None,
    by_tag: bool,
    tags: Path | None,
    as_json: bool,
) -> None:
    """Make tables, figures and a web page from RESULTS: result files or folders of them.

    The page, index.html, holds everything it shows and opens from disk.
    """
    from ssdd_bench.cli._tables import has_speed, show_table
    from ssdd_bench.errors import UserError
    from ssdd_bench.report.build import build_report
    from ssdd_bench.report.frame import check_metric, default_metric
    from ssdd_bench.report.insert import insert_into
    from ssdd_bench.report.loading import load_source
    from ssdd_bench.report.published import load_published

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

    subjects = _find_tags(set(source.frame["data"]), tags) if by_tag or tags else None
    written = list(build_report(source, printed, metric, out, subjects))
    if insert is not None:
        written.append(insert_into(insert, source.frame))
    if as_json:
        print_json({"path": out, "metric": metric, "files": written})
        return
    show_table(source.frame)
    for path in written:
        click.echo(f"wrote {path}", err=True)


def _find_tags(names: set[str], file: Path | None) -> TagsOfSets:
    """Read the tags of each set of images from the file, or from the data set of that name."""
    from ssdd_bench.data.named import DATA_SETS
    from ssdd_bench.errors import UserError
    from ssdd_bench.report.tags import TAGS_FILE, read_tags

    if file is not None:
        return dict.fromkeys(names, read_tags(file))
    folders = {name: one.find() for name, one in DATA_SETS.all().items() if name in names}
    files = {name: folder / TAGS_FILE for name, folder in folders.items() if folder is not None}
    found = {name: read_tags(path) for name, path in files.items() if path.is_file()}
    if not found:
        sets = ", ".join(sorted(names))
        raise UserError(f"no {TAGS_FILE} is known for the images of {sets}: give --tags FILE")
    return found
