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


def test_workflows_and_pages_use_one_version_of_an_action() -> None:
    files = [*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / "docs").rglob("*.md")]
    used: dict[str, set[str]] = {}
    for path in files:
        for action, version in re.findall(r"uses: (actions/[\w-]+)@(\S+)", path.read_text("utf-8")):
            used.setdefault(action, set()).add(version)
    assert used["actions/checkout"] == used["actions/setup-python"] == {"v7"}
    assert not {action: found for action, found in used.items() if len(found) > 1}


def test_the_repository_has_one_placeholder() -> None:
    """No file but the pages, which the site fills in, names an owner."""
    hooks = (ROOT / "docs" / "_hooks.py").read_text("utf-8")
    (name,) = re.findall(r'^REPOSITORY = "(\S+)"$', hooks, re.MULTILINE)
    (host,) = re.findall(r'^HOST = "(\S+)"$', hooks, re.MULTILINE)
    pages = [path for path in ROOT.glob("docs/**/*.md") if "notebooks" not in path.parts]
    others = [ROOT / one for one in ("README.md", "CITATION.cff", "SECURITY.md", "pyproject.toml")]
    others += [*ROOT.glob(".github/**/*.yml"), ROOT / "mkdocs.yml"]
    pattern = re.compile(r"(?:github\.com/|uses: )([^/\s]+/ssdd-bench)\b")
    named = [found for path in pages for found in pattern.findall(path.read_text("utf-8"))]
    assert set(named) == {name}
    for path in others:
        text = path.read_text("utf-8")
        assert name not in text, path
        assert not re.search(re.escape(host) + r"[^/\s]+/ssdd-bench", text), path


def test_the_site_names_its_repository() -> None:
    hooks = runpy.run_path(str(ROOT / "docs" / "_hooks.py"))
    page = (ROOT / "docs" / "how-to" / "gate.md").read_text("utf-8")
    found = hooks["name_repository"](page, "https://example.org/lab/bench/")
    assert hooks["REPOSITORY"] in page
    assert hooks["REPOSITORY"] not in found
    assert "git+https://example.org/lab/bench@main" in found
    assert "uses: lab/bench/.github/workflows/gate.yml@main" in found
    assert hooks["name_repository"](page, "") == page
