"""The end of a run."""

import click
import pytest

from ssdd_bench.cli._summary import NAMED, tell_end
from ssdd_bench.errors import JobsFailedError
from ssdd_bench.evaluation.job import Failure
from ssdd_bench.evaluation.run import RunSummary
from ssdd_bench.launch.tasks import Problem


@pytest.mark.parametrize("more", [0, 2])
def test_the_last_line_counts_failures_and_names_a_few(more: int) -> None:
    names = [f"job-{number}" for number in range(NAMED + more)]
    failures = tuple(Failure(name, 2, Problem("UserError", "no")) for name in names)
    with click.Context(click.Command("run")), pytest.raises(JobsFailedError) as caught:
        tell_end(RunSummary((), failures), [], 99, failures)
    text = str(caught.value)
    assert f"{2 * len(names)} of 99 jobs failed" in text
    assert [name in text for name in names] == [True] * NAMED + [False] * more
    assert ("2 more" in text) is bool(more)
