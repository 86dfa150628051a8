"""Results in the shape of a run's, and a Hub on this machine."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import hub

from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import NUMBERS_VERSION, Result
from ssdd_bench.results.store import from_json, save_result

ROOT = Path(__file__).parents[2]
MINI = sorted((ROOT / "results" / "mini").glob("*.json"))

Save = Callable[..., Path]
__all__ = ["hub", "results", "save"]


@pytest.fixture(scope="session")
def results() -> list[Result]:
    """The committed results, as if this version had measured them; none has scores beside it."""
    read = (from_json(read_json(path), path) for path in MINI)
    return [dataclasses.replace(one, numbers_version=NUMBERS_VERSION, scores="") for one in read]


@pytest.fixture
def save(tmp_path: Path, results: list[Result]) -> Save:
    """Write a result, with changed fields if any, to a folder ``runs``; return its path."""

    def write(index: int = 0, **changes: object) -> Path:
        return save_result(dataclasses.replace(results[index], **changes), tmp_path / "runs")

    return write
