"""Files and repositories: what is wrong is named, with the file, and nothing else is."""

import json
from pathlib import Path

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.hub.findings import Problem
from ssdd_bench.hub.validate import MAX_BYTES, check_file, check_files, check_repository, scores_of
from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.places import place_of, scores_place
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json


@pytest.fixture
def repository(save, tmp_path: Path) -> Path:
    """A repository of three results."""
    folder = tmp_path / "repository"
    for index in range(3):
        path = save(index)
        write_bytes(folder / place_of(from_json(read_json(path), path)), path.read_bytes())
    (folder / "README.md").write_text("free")
    return folder


def found(folder: Path) -> list[tuple[str, Problem]]:
    return [(one.file, one.problem) for check in check_repository(folder) for one in check.findings]


def results_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def test_a_sound_repository(repository: Path) -> None:
    checked = check_repository(repository)
    assert len(checked) == 3
    assert all(one.result is not None for one in checked)
    assert found(repository) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", Problem.UNREADABLE),
        ("[" * 200_000, Problem.UNREADABLE),
        ('{"a": NaN}', Problem.UNREADABLE),
        (" " * (MAX_BYTES + 1), Problem.UNREADABLE),
        ("{}", Problem.SCHEMA),
        ('{"schema_version": 3}', Problem.SCHEMA),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, problem: Problem) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    one = check_file(path)
    assert one.result is None
    assert [finding.problem for finding in one.findings] == [problem]
    assert str(one.findings[0]).startswith(f"{path}: ")
    assert "\n" not in str(one.findings[0])


def test_a_number_that_no_float_holds(save) -> None:
    path = save(0)
    data = json.loads(path.read_text()) | {"seconds": 10**400}
    path.write_text(json.dumps(data))
    assert [one.problem for one in check_file(path).findings] == [Problem.SCHEMA]


def test_a_link_is_not_followed(repository: Path, tmp_path: Path) -> None:
    first = results_of(repository)[0]
    target = tmp_path / "elsewhere.json"
    first.rename(target)
    first.symlink_to(target)
    assert [problem for _, problem in found(repository)] == [Problem.NO_FILE]


def test_a_file_in_another_place(repository: Path) -> None:
    first = results_of(repository)[0]
    first.rename(first.with_name("renamed.json"))
    ((file, problem),) = found(repository)
    assert (Path(file).name, problem) == ("renamed.json", Problem.PLACE)


def test_a_job_twice(repository: Path, save) -> None:
    first = results_of(repository)[0]
    other = repository / "results" / "other" / ("0" * 12) / "default-v1-09e2e4f9" / first.name
    other.parent.mkdir(parents=True)
    other.write_bytes(first.read_bytes())
    assert {problem for _, problem in found(repository)} == {Problem.PLACE, Problem.DUPLICATE}
    one = save(0)
    again = check_files([one, one])
    assert [len(check.findings) for check in again] == [0, 0]  # the same file, named twice


@pytest.mark.parametrize("name", ["samples/picture.png", "notes.txt", "a/b/c.json"])
def test_files_that_do_not_belong(repository: Path, name: str) -> None:
    write_bytes(repository / f"results/{name}", b"")
    assert found(repository) == [(f"results/{name}", Problem.STRAY)]


def test_scores_need_their_result(repository: Path) -> None:
    first = results_of(repository)[0]
    scores = scores_place(first.relative_to(repository)).as_posix()
    write_bytes(repository / scores, b"any")
    assert found(repository) == []
    first.unlink()
    assert found(repository) == [(scores, Problem.STRAY)]


def test_scores_beside_a_result(save) -> None:
    path = save(0)
    assert scores_of(check_file(path)) is None
    scores = f"scores/{path.stem}.parquet"
    again = save(0, scores=scores)
    assert scores_of(check_file(again)) is None
    write_bytes(path.parent / scores, b"any")
    assert scores_of(check_file(again)) == path.parent / scores


def test_a_folder_without_results_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="results"):
        check_repository(tmp_path)
