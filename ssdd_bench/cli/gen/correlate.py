"""``ssdd-bench gen correlate``: rank correlation of reconstruction and generation scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._verbs import argument, option, verb


@verb
def command(
    results: Annotated[tuple[Path, ...], argument(-1)],
    reconstruction: Annotated[str, option("Use this metric of `run`.", "KEY")] = "fd_effnet",
    generation: Annotated[str, option("Use this metric of `gen score`.", "KEY")] = "fd_effnet",
) -> None:
    """Correlate reconstruction with generation scores.

    RESULTS are files or folders. The rank correlation over tokenizers is positive where a better
    reconstruction goes with a better generation.
    """
    from ssdd_bench.report.correlate import correlate
    from ssdd_bench.results.store import load_results

    found = correlate(load_results(results), reconstruction, generation)
    title = f"{reconstruction} and {generation}"
    if not print_json(found):
        print_columns(
            [
                {
                    "settings": one.settings,
                    "tokenizers": len(one.labels),
                    title: f"{one.value:+.2f}",
                }
                for one in found
            ]
        )
