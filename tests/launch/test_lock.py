"""One launch at a time in a folder, which says who holds it; a dead one holds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssdd_bench.errors import OutputError
from ssdd_bench.launch.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from ssdd_bench.launch.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_launch_says_who_holds_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=rf"process {holder.pid} on .* UTC: -c"):
            locked(tmp_path).__enter__()
        with locked(tmp_path, "other"):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):  # its note is still there
        assert f"process {os.getpid()} " in (tmp_path / "run.lock").read_text()
    assert not (tmp_path / "run.lock").exists()


def test_two_launches_of_one_process(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(OutputError), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot lock"), locked(tmp_path / "file"):
        pass
