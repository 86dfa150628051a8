"""``ssdd-bench merge``: make results of what shares have computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._summary import merge_shares
from ssdd_bench.cli._verbs import argument, verb


@verb
def command(out: Annotated[Path, argument()], *, quiet: options.Quiet = False) -> None:
    """Make the results of a run in shares, and show the table.

    OUT is the folder that run --shard was given. Neither plugins nor weights are needed. A job
    of which images are missing stays as it is, and is named.
    """
    merge_shares(out, quiet)
