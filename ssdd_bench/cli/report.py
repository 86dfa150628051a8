"""``ssdd-bench report``: tables, figures and a page from result files, running no network."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from ssdd_bench.cli._output import print_json, show_tables, wants_json
from ssdd_bench.cli._verbs import argument, flag, option, verb
from ssdd_bench.data.named import DATA_SETS
from ssdd_bench.errors import UserError

if TYPE_CHECKING:
    from ssdd_bench.report.build import Samples
    from ssdd_bench.report.tags import TagsOfSets

# In a checkout; an installed package has no such folder and draws no published figure.
_PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"
# What the processes that draw have in common.
_DRAWING = ("ssdd_bench.report.figures.draw_boxes", "ssdd_bench.report.figures.draw_panels")


@verb
def command(
    results: Annotated[tuple[Path, ...], argument(-1)],
    out: Annotated[Path, option("Write the page, tables and figures to this folder.")] = Path(
        "reports"
    ),
    metric: Annotated[
        str | None, option("Show this metric in figures.  [default: the first one]")
    ] = None,
    published: Annotated[
        Path | None,
        option("Read published numbers from this folder.  [default: results/published, if any]"),
    ] = None,
    insert: Annotated[
        Path | None, option("Put a short table into this page, see docs/how-to/shell.md.")
    ] = None,
    compare: Annotated[
        str,
        option(
            "Compare two results in the page's first sentence.  "
            "[default: chosen by rate and speed]",
            metavar="LABEL,LABEL",
            show_default=False,
        ),
    ] = "",
    single_file: Annotated[
        bool, flag("Put photos into the page, as many as fit, not in a folder beside it.")
    ] = False,
    link_samples: Annotated[
        bool, flag("Let the page show the photos where the runs saved them.")
    ] = False,
    by_tag: Annotated[bool, flag("Add tables by subject of the images.")] = False,
    tags: Annotated[
        Path | None, option("Read subjects from this file.  [default: tags.toml of the data set]")
    ] = None,
) -> None:
    """Make tables, figures and a web page from result files.

    RESULTS are files, folders of them, or repositories of results. The page, index.html, opens from
    disk and loads nothing from elsewhere; its photos lie in samples/ beside it.
    """
    from ssdd_bench.launch.pool import process_pool

    context = click.get_current_context()
    executor = context.with_resource(process_pool(_DRAWING))
    if gc.isenabled():  # the search for garbage is a fifteenth of the time, and finds little
        gc.disable()
        context.call_on_close(gc.enable)

    from ssdd_bench.hub.validate import sound_files
    from ssdd_bench.report.build import build_report, draw_figures
    from ssdd_bench.report.frame import check_metric, default_metric
    from ssdd_bench.report.insert import insert_into
    from ssdd_bench.report.loading import load_source
    from ssdd_bench.report.published import load_published

    if single_file and link_samples:
        raise UserError("--single-file and --link-samples exclude each other: give one of them")
    samples: Samples = "embed" if single_file else "link" if link_samples else "copy"
    files, left_out = sound_files(results)
    for found in left_out:
        click.echo(f"left out: {found}", err=True)
    source = load_source(files)
    metric = metric or default_metric(source.frame)
    if metric is None:
        raise UserError("the results hold no metric: nothing to report")
    check_metric(source.frame, metric)
    if published is None and _PUBLISHED.is_dir():
        published = _PUBLISHED
    printed = load_published(published) if published is not None else {}
    if not (source.frame["decode_ips"] > 0).any():
        click.echo("no decode timings in these results: no figures of speed", err=True)
    if not printed:
        click.echo("no published numbers here: no published-figure (--published)", err=True)

    subjects = _find_tags(set(source.frame["data"]), tags) if by_tag or tags else None
    drawings = draw_figures(source.pooled, printed, metric, executor)
    if not wants_json():
        show_tables(source.tables)  # while the figures are drawn
    written = build_report(source, printed, metric, drawings, out, subjects, compare, samples)
    if insert is not None:
        written.append(insert_into(insert, source.frame))
    if print_json({"path": out, "metric": metric, "files": written}):
        return
    for path in written:
        click.echo(f"wrote {path}", err=True)


def _find_tags(names: set[str], file: Path | None) -> TagsOfSets:
    """Read the tags of each set of images from the file, or from the data set of that name."""
    from ssdd_bench.report.tags import TAGS_FILE, read_tags

    if file is not None:
        return dict.fromkeys(names, read_tags(file))
    folders = {name: one.find() for name, one in DATA_SETS.all().items() if name in names}
    files = {name: folder / TAGS_FILE for name, folder in folders.items() if folder}
    found = {name: read_tags(path) for name, path in files.items() if path.is_file()}
    if not found:
        sets = ", ".join(sorted(names))
        raise UserError(f"no {TAGS_FILE} is known for the images of {sets}: give --tags FILE")
    return found
