"""One launch at a time in a folder, which says who holds it; a dead one holds nothing."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssdd_bench.errors import OutputError
from ssdd_bench.launch import lock
from ssdd_bench.launch.lock import clocks_in_turn, locked

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


@pytest.mark.medium
def test_clocks_are_read_one_at_a_time_while_nobody_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PAUSE", 0.01)
    spans: list[tuple[str, float, float]] = []

    def note(kind: str, seconds: float) -> None:
        begin = time.monotonic()
        time.sleep(seconds)
        spans.append((kind, begin, time.monotonic()))

    def process(index: int) -> None:
        time.sleep(0.05 * index)  # the last ones begin while others have done their work
        with clocks_in_turn(tmp_path, f"share-{index}") as wait:
            note("work", 0.1)
            wait()
            note("clock", 0.05)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(process, range(4)))
    clocks = [(begin, end) for kind, begin, end in spans if kind == "clock"]
    assert len(clocks) == 4
    for clock in clocks:
        others = [(begin, end) for _, begin, end in spans if (begin, end) != clock]
        assert not [one for one in others if one[0] < clock[1] and clock[0] < one[1]]


@pytest.mark.medium
def test_a_process_that_dies_at_work_keeps_no_clock_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PAUSE", 0.01)
    work = HOLD.replace("locked(Path(sys.argv[1]))", "clocks_in_turn(Path(sys.argv[1]), 'a')")
    command = [sys.executable, "-c", work.replace("import locked", "import clocks_in_turn")]
    with subprocess.Popen([*command, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with clocks_in_turn(tmp_path, "b") as wait:
            begin = time.monotonic()
            killing = threading.Timer(0.2, holder.kill)
            killing.start()
            wait()
            assert 0.2 <= time.monotonic() - begin < 10


def test_one_alone_reads_its_clocks_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PAUSE", 600.0)
    for _ in range(2):
        with clocks_in_turn(tmp_path, "a") as wait:
            wait()
