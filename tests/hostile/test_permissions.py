"""Files that may not be read and folders that may not be written, for root too.

Root reads and writes everything by two capabilities, which the programs here are started without.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
MINI = Path(__file__).parents[2] / "results" / "mini"

Command = Callable[..., subprocess.CompletedProcess[str]]


def without_privileges() -> None:
    """Give up what lets root pass over permissions, once the next program is started."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                os._exit(99)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``ssdd-bench`` in the test's folder."""

    def call(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        found = subprocess.run(
            [sys.executable, "-m", "ssdd_bench", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | environment,
            preexec_fn=without_privileges,
            capture_output=True,
            text=True,
        )
        if found.returncode == 99:
            pytest.skip("this container does not let root give up its capabilities")
        assert "Traceback" not in found.stderr
        return found

    return call


RUN = ("run", "--tokenizers", "downsample", "--res", 32, "--no-speed", "--data", "photos")
PSNR = ("--metrics", "psnr")


@pytest.fixture
def photos(make_photos: Callable[..., Path], tmp_path: Path) -> Path:
    """Three photos, of which nobody may read the second."""
    folder = make_photos(3, (40, 40)).rename(tmp_path / "photos")
    sorted(folder.iterdir())[1].chmod(0)
    return folder


def test_an_image_that_may_not_be_read_is_left_out_by_name(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    name = sorted(path.name for path in photos.iterdir())[1]
    found = command(*RUN, *PSNR, "--out", "out")
    assert found.returncode == 0, found.stderr
    (path,) = (tmp_path / "out").glob("downsample*.json")
    result = json.loads(path.read_text())
    assert result["data"]["n"] == 2
    assert any(name in warning for warning in result["warnings"])
    strict = command(*RUN, *PSNR, "--out", "strict", "--strict")
    assert strict.returncode not in (0, 1)
    assert name in strict.stderr


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, *PSNR, "--out", "closed/out"),
        ("report", MINI, "--out", "closed/out"),
        ("card", MINI, "--tokenizer", "ssdd", "--out", "closed/card.md"),
    ],
    ids=lambda words: words[0],
)
def test_a_folder_that_may_not_be_written_is_one_line(
    command: Command, photos: Path, tmp_path: Path, words: tuple[object, ...]
) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    found = command(*words)
    assert found.returncode not in (0, 1)
    (line,) = (line for line in found.stderr.splitlines() if "closed" in line)
    assert "ermission" in line
    assert not list((tmp_path / "closed").iterdir())


def test_a_cache_that_may_not_be_written_costs_nothing_but_time(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir(mode=0o555)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = command(*RUN, "--metrics", "fd_effnet", "--out", "out", **cache)
    assert found.returncode == 0, found.stderr
    (path,) = (tmp_path / "out").glob("downsample*.json")
    assert json.loads(path.read_text())["metrics"]["fd_effnet"]["value"] > 0
