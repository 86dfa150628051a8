"""docs/how-to/adding-*.md: files are written and commands run, all of them, as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"# (\S+/\S+\.\w+)\n")

Follow = Callable[[str], Path]


@pytest.fixture
def follow(tmp_path: Path) -> Follow:
    """Do what a document says, in an empty folder, with our command and without a network."""
    site, programs, work = (tmp_path / name for name in ("site", "bin", "work"))
    for folder in (site, programs, work):
        folder.mkdir()
    python = shlex.quote(sys.executable)
    offline = f"--no-deps --no-index --no-build-isolation --quiet --target {shlex.quote(str(site))}"
    commands = {
        "pip": f'{python} -m pip "$@" {offline}',
        "python": f'{python} "$@"',
        "pytest": f'{python} -m pytest "$@"',
        "ssdd-bench": f'{python} -m ssdd_bench "$@"',
    }
    for name, command in commands.items():
        (programs / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
    }

    def run(document: str) -> Path:
        script = ["set -e"]
        for language, text in BLOCK.findall(
            (ROOT / "docs" / "how-to" / document).read_text("utf-8")
        ):
            if language == "sh":
                script.append(text)
                continue
            name = NAME.match(text)
            assert name, f"a block of {language} names no file:\n{text}"
            file = shlex.quote(name[1])
            script.append(f"mkdir -p $(dirname {file})\ncat > {file} <<'END'\n{text}END")
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return work

    return run


def results(folder: Path) -> list[dict[str, dict[str, object]]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


@pytest.mark.slow
def test_a_tokenizer_is_added_as_the_document_says(follow: Follow) -> None:
    work = follow("adding-a-tokenizer.md")
    found = results(work / "runs")
    assert {one["tokenizer"]["label"] for one in found} == {"my-vae", "jpeg"}
    assert {one["resolution"] for one in found} == {64, 128}
    (installed,) = results(work / "runs-installed")
    assert installed["tokenizer"]["id"] == "my-vae"


@pytest.mark.nightly
def test_a_metric_and_a_protocol_are_added_as_the_document_says(follow: Follow) -> None:
    found = results(follow("adding-a-metric.md") / "runs")
    assert len(found) == 4
    by_cell = {(one["tokenizer"]["label"], one["protocol"]["id"]): one["metrics"] for one in found}
    for protocol in ("default-v1", "my-lab-v1"):
        coarse, fine = (
            by_cell[f"jpeg:quality={quality}", protocol]["edge_error"] for quality in (10, 90)
        )
        assert coarse["value"] > fine["value"] > 0  # type: ignore[index]
    shift = by_cell["jpeg:quality=10", "default-v1"]["mean_shift"]
    assert shift["value"] > 0  # type: ignore[index]
