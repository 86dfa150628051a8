"""Validation from the command line: one line per problem, and the exit code."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINI = ROOT / "results" / "mini"


def test_committed_results_pass(program) -> None:
    code, out, error = program("validate", *MINI.glob("*.json"))
    assert (code, out) == (0, "")
    assert error == "16 results, 0 problems, 0 notes\n"
    assert program("validate", MINI) == (code, out, error)


def test_results_of_a_former_version_of_a_protocol_pass_with_a_note_each(program) -> None:
    folder = ROOT / "results" / "generation"
    files = sorted(folder.glob("*.json"))
    code, out, error = program("validate", folder)
    assert (code, error) == (0, f"{len(files)} results, 0 problems, {len(files)} notes\n")
    assert [line.partition(": former version 6c2d51a3")[0] for line in out.splitlines()] == [
        str(path) for path in files
    ]
    found = json.loads(program("validate", files[0], "--json")[1])["findings"]
    assert [(one["problem"], one["note"]) for one in found] == [("protocol-superseded", True)]


def test_advice_is_given_once(program, tmp_path) -> None:
    for text in ("{", '{"schema_version": 3}'):
        path = tmp_path / "bad.json"
        path.write_text(text)
        code, out, _ = program("validate", path)
        (found,) = json.loads(program("validate", path, "--json")[1])["findings"]
        assert code == 1
        assert out == f"{path}: {found['text']} [{found['problem']}]. {found['fix']}.\n"
        assert "measure again" not in found["text"]
        assert out.lower().count("measure again") == 1


def test_problems_are_lines_and_the_code_is_1(program, tmp_path) -> None:
    good, bad = sorted(MINI.glob("*.json"))[:2]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(json.loads(bad.read_text()) | {"seconds": -1}))
    code, out, error = program("validate", good, path, tmp_path / "absent.json")
    assert code == 1
    first, second = out.splitlines()
    assert first.startswith(f"{path}: seconds is -1.0")
    assert second.startswith(f"{tmp_path / 'absent.json'}: no such file [no-file]. Give the path")
    assert error == "2 results, 2 problems, 0 notes\n"
    code, out, _ = program("validate", path, "--json")
    (found,) = json.loads(out)["findings"]
    assert (code, found["problem"], found["file"]) == (1, "value", str(path))
    assert found["fix"]


@pytest.mark.medium
def test_a_folder_with_results_in_it_is_a_repository(program, tmp_path) -> None:
    code, _, error = program("validate", tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    shutil.copytree(MINI, tmp_path / "results" / "mini")
    code, out, _ = program("validate", tmp_path)
    assert code == 1
    assert all("[stray]" in line for line in out.splitlines())
