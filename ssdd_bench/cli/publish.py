"""``ssdd-bench publish``: add results to a repository on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, flag, verb
from ssdd_bench.errors import counted


@verb
def command(
    results: Annotated[Path, argument()],
    repo: Annotated[str, argument()],
    private: Annotated[bool, flag("Make a new repository private.")] = False,
    pull_request: Annotated[bool, flag("Open a pull request.")] = False,
) -> None:
    """Publish results as a data set on the Hugging Face Hub.

    RESULTS is a result file or a folder of them, and REPO a data set repository such as
    someone/results, which is created unless it exists. Every file is checked first, as by
    ssdd-bench validate. The rows of its leaderboard, report.json, are made anew from all results.
    """
    from ssdd_bench.hub.publish import publish

    done = publish([results], repo, private, pull_request)
    if print_json(done):
        return
    for one in done.left_out:
        click.echo(f"left out: {one}", err=True)
    counts = {
        "added": len(done.added),
        "replaced": len(done.replaced),
        "unchanged": len(done.unchanged),
    }
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    click.echo(
        f"{text}; {counted(done.results, 'result')} there. {done.url or 'Nothing to commit.'}"
    )
