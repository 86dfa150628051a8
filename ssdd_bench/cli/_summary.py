"""The end of a run, in one process or in shares: its tables, its document and its failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ssdd_bench.cli._output import describe_result, print_json, show_tables, wants_json
from ssdd_bench.errors import JobsFailedError, counted

if TYPE_CHECKING:
    import pandas as pd

    from ssdd_bench.evaluation.job import Failure
    from ssdd_bench.evaluation.run import RunSummary

NAMED: Final = 3  # failures in the last line


def merge_shares(out: Path, quiet: bool) -> None:
    """Make the results of a run in shares, and show the table of all results.

    Raises:
        JobsFailedError: a job lacks something.
    """
    from rich.console import Console

    from ssdd_bench.cli._live import follow
    from ssdd_bench.evaluation.run import merge_results
    from ssdd_bench.results.places import results_in

    with follow(Console(stderr=True, quiet=quiet)) as callbacks:
        summary = merge_results(out, callbacks)
    files = write_tables(out, quiet) if results_in(out) else []
    planned = len(summary.finished) + len(summary.failures)
    tell_end(summary, files, planned, callbacks.failures)


def tell_end(
    summary: RunSummary, files: Sequence[Path], planned: int, told: Sequence[Failure]
) -> None:
    """Print the document of a run, and its failures.

    Args:
        summary: of the run.
        files: table and figure that it has written.
        planned: number of jobs.
        told: failures that have a line already.

    Raises:
        JobsFailedError: there is a failure.
    """
    from ssdd_bench.cli._live import describe_failure

    print_json(
        {
            "jobs": [
                describe_result(one.result, one.path) | {"reused": one.reused}
                for one in summary.finished
            ],
            "failures": [
                {"name": one.name, "jobs": one.jobs, "error": str(one)} for one in summary.failures
            ],
            "files": files,
        }
    )
    for failure in summary.failures:
        if failure not in told:  # such as that of another rank
            click.echo(describe_failure(failure), err=True)
    if summary.failures:
        failed = sum(failure.jobs for failure in summary.failures)
        names = [failure.name for failure in summary.failures]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise JobsFailedError(
            f"{failed} of {counted(planned, 'job')} failed, see above: "
            f"{'; '.join(names[:NAMED])}{more}"
        )


def write_tables(out: Path, quiet: bool, frame: pd.DataFrame | None = None) -> list[Path]:
    """Write table and figure of a folder, print the table of a run, and return the files.

    Args:
        out: folder, which may hold results of earlier commands too.
        quiet: True prints no table.
        frame: of the results to print; by default all of the folder.
    """
    from ssdd_bench.report.figures.curves import speed_chart
    from ssdd_bench.report.figures.draw import draw
    from ssdd_bench.report.figures.palette import Palette
    from ssdd_bench.report.frame import default_metric
    from ssdd_bench.report.loading import load_source
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown
    from ssdd_bench.results.files import write_text
    from ssdd_bench.results.places import results_in

    source = load_source(results_in(out))
    whole = source.frame
    written = [write_text(out / "table.md", to_markdown(source.tables))]
    metric = default_metric(whole)
    if metric and (chart := speed_chart(whole, metric)):
        figure = draw(chart, Palette.of(whole), [".png"])
        written.append(figure.save(out / f"{figure.name}.png"))
    if not quiet and not wants_json():
        show_tables(source.tables if frame is None else build_tables(frame))
        names = (*(path.name for path in written), counted(len(whole), "result file"))
        click.echo(f"{out}: {', '.join(names)}", err=True)
    return written
