"""``ssdd-bench pull``: bring results of others into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, flag, option, verb
from ssdd_bench.errors import one_line


@verb
def command(
    repo: Annotated[str, argument()],
    out: options.ResultFolder = Path("runs"),
    others: Annotated[
        Literal["refuse", "apart"],
        option("Leave out results that do not compare, or write them to OUT/others."),
    ] = "refuse",
    scores: Annotated[bool, flag("Take the scores of single images along.")] = False,
    revision: Annotated[
        str, option("Take this branch, tag or commit.  [default: main]", show_default=False)
    ] = "",
) -> None:
    """Pull results from a repository on the Hub, or from a folder.

    REPO is a data set repository such as someone/results, or a folder such as ./clone. Each file
    is checked before it is written, and no file of yours is replaced. Results of another protocol
    hash or another version of the numbers do not mix with yours: they are named and left out, or
    kept apart.
    """
    from ssdd_bench.hub.pull import Outcome, pull

    pulled = pull(repo, out, others, scores, revision)
    if print_json({"path": out, "files": pulled}):
        return
    for one in pulled:
        if one.outcome not in (Outcome.WRITTEN, Outcome.SAME):
            file = one_line(one.file)
            click.echo(f"{one.outcome}: {file}: {one.text} [{one.reason}]", err=True)
    counts = {outcome: sum(one.outcome is outcome for one in pulled) for outcome in Outcome}
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    nothing = f"nothing pulled; {repo} has no results/MODEL/REVISION/PROTOCOL/FILE.json"
    click.echo(f"{out}: {text or nothing}")
