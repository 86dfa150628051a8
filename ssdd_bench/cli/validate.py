"""``ssdd-bench validate``: check result files or a repository of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, verb


@verb
def command(paths: Annotated[tuple[Path, ...], argument(-1)]) -> None:
    """Check result files, or repositories of results.

    PATHS are result files, checked one by one, or folders, each the root of a repository with
    results in results/MODEL/REVISION/PROTOCOL. Schema, place, protocol, checksums of the weights,
    duplicates and values are checked. Every problem is one line, and the exit code is 1 if there
    is one.
    """
    from ssdd_bench.hub.validate import check_files, check_repository

    checked = check_files(path for path in paths if not path.is_dir())
    for folder in (path for path in paths if path.is_dir()):
        checked += check_repository(folder)
    findings = [found for one in checked for found in one.findings]
    results = sum(one.result is not None for one in checked)
    document = [
        {"file": one.file, "problem": one.problem, "text": one.text, "fix": one.fix}
        for one in findings
    ]
    if not print_json({"results": results, "findings": document}):
        for one in findings:
            click.echo(one)
        click.echo(f"{results} results, {len(findings)} problems", err=True)
    click.get_current_context().exit(int(bool(findings)))
