"""``ssdd-bench merge``: make results of what shares have computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._verbs import argument, verb
from ssdd_bench.cli.run import report_run


@verb
def command(out: Annotated[Path, argument()], *, quiet: options.Quiet = False) -> None:
    """Make the results of a run that was computed in shares, and show the table of all results.

    OUT is the folder that run --shard was given. Neither plugins nor weights are needed. A job
    of which images are missing stays as it is, and is named.
    """
    from rich.console import Console

    from ssdd_bench.cli._live import follow
    from ssdd_bench.evaluation.run import merge_results, results_in
    from ssdd_bench.report.loading import load_source

    with follow(Console(stderr=True, quiet=quiet)) as callbacks:
        summary = merge_results(out, callbacks)
    frame = load_source(files).frame if (files := results_in(out)) else None
    planned = len(summary.finished) + len(summary.failures)
    report_run(summary, frame, out, planned, quiet)
