"""``ssdd-bench validate``: check result files or a repository of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, verb
from ssdd_bench.errors import counted


@verb
def command(paths: Annotated[tuple[Path, ...], argument(-1)]) -> None:
    """Check result files, or repositories of results.

    PATHS are result files, folders of them, or roots of repositories, which have results in
    results/MODEL/REVISION/PROTOCOL. Schema, place, protocol, checksums of the weights, duplicates
    and values are checked. Every problem is one line, and the exit code is 1 if there is one.
    Notes are lines too: they name results of former versions of a protocol, which stay valid.
    """
    from ssdd_bench.hub.validate import check_paths

    checked = check_paths(paths)
    findings = [found for one in checked for found in one.findings]
    problems = sum(len(one.problems) for one in checked)
    results = sum(one.result is not None for one in checked)
    document = [
        {
            "file": one.file,
            "problem": one.problem,
            "note": one.is_note,
            "text": one.text,
            "fix": one.fix,
        }
        for one in findings
    ]
    if not print_json({"results": results, "findings": document}):
        for one in findings:
            click.echo(one)
        found = {"result": results, "problem": problems, "note": len(findings) - problems}
        text = ", ".join(counted(count, noun) for noun, count in found.items())
        click.echo(text, err=True)
    click.get_current_context().exit(int(problems > 0))
