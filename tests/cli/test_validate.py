"""Validation from the command line: one line per problem, and the exit code."""

import json
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
MINI = ROOT / "results" / "mini"


def test_committed_results_pass(program) -> None:
    code, out, error = program("validate", *MINI.glob("*.json"))
    assert (code, out) == (0, "")
    assert error == "16 results, 0 problems\n"


def test_problems_are_lines_and_the_code_is_1(program, tmp_path) -> None:
    good, bad = sorted(MINI.glob("*.json"))[:2]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(json.loads(bad.read_text()) | {"seconds": -1}))
    code, out, error = program("validate", good, path, tmp_path / "absent.json")
    assert code == 1
    first, second = out.splitlines()
    assert first.startswith(f"{path}: seconds is -1.0")
    assert second.startswith(f"{tmp_path / 'absent.json'}: ")
    assert error == "2 results, 2 problems\n"
    code, out, _ = program("validate", path, "--json")
    (found,) = json.loads(out)["findings"]
    assert (code, found["problem"], found["file"]) == (1, "value", str(path))
    assert found["fix"]


def test_a_folder_is_a_repository(program, tmp_path) -> None:
    code, _, error = program("validate", MINI)
    assert (code, error.count("\n")) == (2, 1)
    shutil.copytree(MINI, tmp_path / "results" / "mini")
    code, out, _ = program("validate", tmp_path)
    assert code == 1
    assert all("[stray]" in line for line in out.splitlines())
