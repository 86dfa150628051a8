"""Publishing and pulling from the command line."""

import dataclasses
import json
from pathlib import Path

import pytest

from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import NUMBERS_VERSION
from ssdd_bench.results.store import from_json, load_results, save_result

MINI = Path(__file__).parents[2] / "results" / "mini"
REPO = "someone/results"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two results of this version and one of an unknown one."""
    for index, path in enumerate(sorted(MINI.glob("*.json"))[:3]):
        result = from_json(read_json(path), path)
        version = NUMBERS_VERSION if index else None
        save_result(dataclasses.replace(result, numbers_version=version, scores=""), tmp_path / "r")
    return tmp_path / "r"


@pytest.mark.medium
def test_there_and_back(program, hub, runs: Path, tmp_path: Path) -> None:
    code, out, error = program("publish", runs, REPO)
    assert code == 0, error
    assert out.startswith("3 added, 0 replaced, 0 unchanged; 3 results there. http")
    code, out, _ = program("publish", runs, REPO, "--json")
    assert len(json.loads(out)["unchanged"]) == 3
    theirs = tmp_path / "theirs"
    code, out, error = program("pull", REPO, "--out", theirs)
    assert (code, out) == (0, f"{theirs}: 2 written, 1 refused\n")
    assert "[unrecorded-numbers]" in error
    code, out, _ = program("pull", REPO, "--out", theirs, "--others", "apart", "--json")
    outcomes = sorted(one["outcome"] for one in json.loads(out)["files"])
    assert outcomes == ["apart", "same", "same"]
    assert len(load_results([theirs])) == 2  # those apart are not read along
    code, out, _ = program("pull", runs, "--out", theirs)  # a folder of results, no repository
    assert code == 0
    assert str(runs) in out


@pytest.mark.slow
def test_a_clone_becomes_the_page_of_its_leaderboard(program, hub, runs: Path, tmp_path) -> None:
    program("publish", runs, REPO)
    clone, site = tmp_path / "clone", tmp_path / "site"
    for name, data in hub.repositories["dataset", REPO].files.items():
        write_bytes(clone / name, data)
    write_bytes(clone / "results/stray.txt", b"")
    code, _, error = program("report", clone, "--out", site)
    assert code == 0, error
    assert [line for line in error.splitlines() if line.startswith("left out: ")] == [
        line for line in error.splitlines() if "stray.txt" in line
    ]
    assert (site / "report.json").read_bytes() == (clone / "report.json").read_bytes()
    assert (site / "index.html").is_file()


def test_a_problem_is_one_line(program, hub, runs: Path) -> None:
    path = sorted(runs.glob("*.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "abc"}))
    code, _, error = program("publish", runs, REPO)
    assert (code, error.count("\n")) == (1, 1)
    assert str(path) in error
    assert hub.requests == []


def test_no_such_repository_is_one_line(program, hub, tmp_path: Path) -> None:
    code, _, error = program("pull", "someone/absent", "--out", tmp_path)
    assert (code, error.count("\n")) == (2, 1)
