"""A fixture for the tests of a tokenizer's own repository: fail where its scores get worse.

The plugin is active wherever ssdd-bench is installed; it imports nothing until it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--ssdd-gate-update``."""
    parser.getgroup("ssdd-bench").addoption(
        "--ssdd-gate-update",
        action="store_true",
        help="measure anew what ssdd_gate compares with, instead of comparing",
    )


@pytest.fixture
def ssdd_gate(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Return a function that measures a tokenizer and compares it with committed results.

    Its arguments: ``tokenizer`` as for ``ssdd-bench run --tokenizers``; ``baseline``, a folder of
    results relative to pytest's root; ``res``, ``data``, ``limit`` and ``metrics`` as the options
    of ``ssdd-bench run``; ``fail``, thresholds as of ``ssdd-bench compare``.
    """
    update: bool = request.config.getoption("--ssdd-gate-update")
    root = request.config.rootpath

    def gate(
        tokenizer: str,
        baseline: str | Path,
        *,
        res: int = 256,
        data: str | Path | None = None,
        limit: int | None = None,
        metrics: Sequence[str] = (),
        fail: Sequence[str] = (),
    ) -> None:
        from ssdd_bench.data.named import DATA_SETS
        from ssdd_bench.errors import UnavailableError, UserError
        from ssdd_bench.evaluation.config import RunConfig
        from ssdd_bench.evaluation.run import run_jobs
        from ssdd_bench.gate.compare import compare
        from ssdd_bench.gate.load import load_side, replace_results
        from ssdd_bench.gate.outputs import add_to_summary, to_markdown
        from ssdd_bench.gate.thresholds import parse_rules, project_rules
        from ssdd_bench.metrics.catalog import METRICS
        from ssdd_bench.plugins.registry import parse_requests
        from ssdd_bench.weights.download import fetch

        if data and str(data) not in DATA_SETS.all():
            data = root / data
        command = f"ssdd-bench run --tokenizers {tokenizer} --res {res} --out results"
        command += " --no-speed --no-pictures --quiet"
        given = {"data": data, "limit": limit, "metrics": ",".join(metrics)}
        command += "".join(f" --{name} {value}" for name, value in given.items() if value)
        problem: UserError | None = None
        try:
            config = RunConfig(
                requests=tuple(parse_requests(tokenizer)),
                resolutions=(res,),
                out=tmp_path / "results",
                metrics=tuple(metrics),
                data=data,
                limit=limit,
                speed=False,
                pictures=False,
                command=command,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pytest may make errors of a library's warnings.
                for asset in chain.from_iterable(METRICS.get(key).assets for key in metrics):
                    with suppress(UnavailableError):  # The metric will be absent.
                        fetch(asset)
                for failure in run_jobs(config).failures:
                    pytest.fail(f"ssdd-bench run failed:\n{failure}", pytrace=False)
            if update:
                replace_results(root / baseline, config.out)
                pytest.skip(f"measured anew: {root / baseline}")
            thresholds = project_rules(root) | parse_rules(fail)
            base = load_side(str(root / baseline), "pytest --ssdd-gate-update")
            head = load_side(str(config.out))
        except UserError as error:
            problem = error
        if problem:  # outside the handler, whose traceback pytest would print before it
            pytest.fail(str(problem), pytrace=False)
        found = compare(base, head, thresholds)
        table = to_markdown(found)
        add_to_summary(table)
        if found.exit_code:
            pytest.fail(table, pytrace=False)

    return gate
