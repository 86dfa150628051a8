"""Hints work where the package was installed from a checkout, from git, from a file or an index."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ssdd_bench.install
from ssdd_bench.install import command_for, install_command

ROOT = Path(__file__).parents[1]


def extras() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return set(tomllib.load(file)["project"]["optional-dependencies"])


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'ssdd-bench[train]'"),
        (
            {"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
            "pip install 'ssdd-bench[train] @ git+https://example.org/x.git'",
        ),
        (
            {
                "url": "ssh://git@example.org/x",
                "vcs_info": {"vcs": "git", "commit_id": "0" * 40, "requested_revision": "v1"},
            },
            "pip install 'ssdd-bench[train] @ git+ssh://git@example.org/x@v1'",
        ),
        (
            {"url": "https://example.org/x.whl", "archive_info": {}},
            "pip install 'ssdd-bench[train] @ https://example.org/x.whl'",
        ),
        ({"url": "file:///gone/x.whl", "archive_info": {}}, "pip install 'ssdd-bench[train]'"),
        ({"url": "file:///gone", "dir_info": {}}, "pip install 'ssdd-bench[train]'"),
    ],
)
def test_origins(origin: dict[str, Any] | None, command: str, tmp_path: Path) -> None:
    assert command_for("train", origin, tmp_path) == command


def test_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    origin = {"url": folder.as_uri(), "dir_info": {}}
    site = tmp_path / "site-packages"
    assert command_for("train", origin, site) == f"pip install '{folder}[train]'"
    monkeypatch.chdir(folder)
    assert command_for("train", origin, site) == "pip install '.[train]'"
    (folder / "pyproject.toml").touch()
    assert command_for("train", None, folder) == "pip install -e '.[train]'"


@pytest.mark.medium
def test_what_pip_recorded_is_read(tmp_path: Path) -> None:
    """An installation outside a checkout, with the record that pip writes for a git URL."""
    shutil.copytree(ROOT / "ssdd_bench", tmp_path / "ssdd_bench", symlinks=True)
    info = tmp_path / "ssdd_bench-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ssdd-bench\nVersion: 0.1.0\n")
    record = {"url": "https://example.org/x", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
    (info / "direct_url.json").write_text(json.dumps(record))
    code = "from ssdd_bench.install import install_command as c; print(c('ray'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "pip install 'ssdd-bench[ray] @ git+https://example.org/x'\n"


def test_the_installed_package_is_found() -> None:
    assert install_command("train").endswith("[train]'")
    assert Path(ssdd_bench.install.__file__).is_file()


def test_hints_go_through_this_function() -> None:
    """No file of the package writes such a command itself, and each extra that is named exists."""
    for file in sorted((ROOT / "ssdd_bench").rglob("*.py")):
        text = file.read_text("utf-8")
        if file.name != "install.py":
            assert "ssdd-bench[" not in text, file
        for part in text.split('install_command("')[1:]:
            assert part.split('"')[0] in extras() or file.name == "install.py", file


def test_pages_name_no_index() -> None:
    """The package is on none: pages install it from a checkout or from a git URL."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("tokenizers/*/*.md")]
    for page in pages:
        assert not re.search(r"pip install ['\"]?ssdd-bench(?!.* @ )", page.read_text("utf-8")), (
            page
        )
