"""Workflows, forms and the citation are valid, and say the same as pyproject.toml."""

import re
import runpy
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[2]
with (ROOT / "pyproject.toml").open("rb") as _file:
    PROJECT = tomllib.load(_file)["project"]
CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/*.yml",
    "vendor.citation-file-format": "CITATION.cff",
}


def validate(schema: str, *files: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="needs check-jsonschema")
@pytest.mark.parametrize(("schema", "pattern"), SCHEMAS.items(), ids=SCHEMAS.values())
def test_files_are_valid(schema: str, pattern: str, tmp_path: Path) -> None:
    done = validate(schema, *ROOT.glob(pattern))
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("jobs: {a: {runs-on: 1, step: []}}\n")
    assert validate(schema, wrong).returncode == 1


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    """Each version is stated once; `make lowest` writes the constraints."""
    text = (ROOT / "constraints" / "lowest.txt").read_text("utf-8")
    assert text == runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["constraints"]()
    assert "\ntorch==" in text
    assert re.search(r"[<>~!]|==.*==", text) is None


def test_every_supported_python_is_tested() -> None:
    tested = CI["jobs"]["check"]["strategy"]["matrix"]["python"]
    label = "Programming Language :: Python :: "
    assert [label + version for version in tested] == [
        one for one in PROJECT["classifiers"] if one.startswith(label)
    ]
    assert PROJECT["requires-python"] == f">={min(tested, key=Version)}"
    lowest = CI["jobs"]["lowest"]["steps"]
    assert min(tested, key=Version) in {
        step.get("with", {}).get("python-version") for step in lowest
    }


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_make_targets_of_workflows_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    used = {
        target
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for target in re.findall(r"\bmake ([a-z-]+)", path.read_text("utf-8"))
    }
    assert used
    assert used <= targets
