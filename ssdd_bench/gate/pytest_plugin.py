"""A fixture for the tests of a tokenizer's own repository: fail where its scores get worse.

The plugin is active wherever ssdd-bench is installed; it imports nothing until it is used.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Gate = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--ssdd-gate-update``."""
    parser.getgroup("ssdd-bench").addoption(
        "--ssdd-gate-update",
        action="store_true",
        help="measure anew what ssdd_gate compares with, instead of comparing",
    )


@pytest.fixture
def ssdd_gate(request: pytest.FixtureRequest, tmp_path: Path) -> Gate:
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
        options: list[str | Path] = ["--tokenizers", tokenizer, "--res", str(res)]
        options += ["--out", "results"]  # a relative path, since the command is in the results
        options += ["--no-speed", "--no-pictures", "--quiet"]
        if data:
            from ssdd_bench.data.named import DATA_SETS

            options += ["--data", data if str(data) in DATA_SETS.all() else root / data]
        options += ["--limit", str(limit)] if limit else []
        options += ["--metrics", ",".join(metrics)] if metrics else []
        out = tmp_path / "results"
        measured = _ssdd_bench(tmp_path, "run", *options)
        if measured.returncode:
            pytest.fail(f"ssdd-bench run failed:\n{measured.stderr}", pytrace=False)
        if update:
            no_tables = shutil.ignore_patterns("*.md", "run.toml")
            shutil.copytree(out, root / baseline, dirs_exist_ok=True, ignore=no_tables)
            pytest.skip(f"measured anew: {root / baseline}")
        rules = [part for rule in fail for part in ("--fail", rule)]
        compared = _ssdd_bench(root, "compare", root / baseline, out, *rules)
        if compared.returncode:
            pytest.fail(compared.stdout + compared.stderr, pytrace=False)

    return gate


def _ssdd_bench(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ssdd_bench", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
