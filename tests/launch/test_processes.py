"""Workers as processes: what they share with the launcher, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dummy_groups import Run, read_log
from forked import attempt

from ssdd_bench.launch import processes
from ssdd_bench.launch.processes import CORES, describe_exit, own_cores

LAUNCH = """
import sys
from pathlib import Path
sys.path.append({tests!r})
from dummy_groups import Run, Dummy
from ssdd_bench.launch.processes import Processes
from ssdd_bench.launch.scheduler import Scheduler
from ssdd_bench.launch.signals import termination_interrupts
folder = Path({folder!r})
with termination_interrupts():
    groups = [Dummy(name, {jobs!r}, folder) for name in "ab"]
    Scheduler(groups, Processes(["cpu"] * 2)).run()
print("done")
"""


def launch(folder: Path, jobs: dict[str, int | str]) -> subprocess.Popen[str]:
    """Start a launcher without a guard of its main module."""
    code = LAUNCH.format(
        tests=str(Path(__file__).parents[1] / "support"), folder=str(folder), jobs=jobs
    )
    script = folder / "script.py"
    script.write_text(code)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, script], stdout=pipe, stderr=pipe, text=True)


def until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def chunks(folder: Path) -> list[list[object]]:
    log = folder / "log"
    return [row for row in read_log(folder) if row[3] == "chunk"] if log.exists() else []


@pytest.mark.medium
def test_the_environment_of_the_launcher_is_that_of_workers(
    run_dummies: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("one", "two"):
        monkeypatch.setenv("DUMMY", value)
        run_dummies({value: {"job": 1}}, 1)
    assert [row[5] for row in read_log(tmp_path) if row[3] == "load"] == ["one", "two"]


@pytest.mark.medium
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_workers_that_ended_hold_no_files(run_dummies: Run, tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    groups = {f"group {number}": {"job": 1} for number in range(8)}
    run_dummies({"first": {"job": 1}}, 2)
    before = count()
    run_dummies(groups, 2)
    assert count() == before


@pytest.mark.slow
def test_a_script_needs_no_guard_and_workers_write_no_output(tmp_path: Path) -> None:
    process = launch(tmp_path, {"job": "work no stdout"})
    out, err = process.communicate(timeout=60)
    assert out == "done\n"
    assert err.count("noise") == 2


@pytest.mark.slow
def test_a_lock_of_a_killed_worker_is_removed_silently(tmp_path: Path) -> None:
    """Bars of tqdm hold such a lock."""
    process = launch(tmp_path, {"job": "work lock"})
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("done\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_launcher(tmp_path: Path, number: int) -> None:
    process = launch(tmp_path, {"fine": 5, "bad": "work hang"})
    until(lambda: len(chunks(tmp_path)) == 14)
    workers = [psutil.Process(row[1]) for row in chunks(tmp_path)]
    started = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=10)
    until(lambda: not any(map(alive, workers)), 5)
    assert time.monotonic() - started < 5
    before = len(chunks(tmp_path))
    process = launch(tmp_path, {"fine": 5, "bad": 3})
    assert process.communicate(timeout=60)[0] == "done\n"
    assert len(chunks(tmp_path)) == before + 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_of_a_plugin_end_with_the_launcher(tmp_path: Path, number: int) -> None:
    process, note = launch(tmp_path, {"job": "work program"}), tmp_path / "program"
    until(lambda: note.exists() and note.read_text())
    program = psutil.Process(int(note.read_text()))
    process.send_signal(number)
    process.communicate(timeout=10)
    until(lambda: not alive(program), 5)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_an_exit_is_described() -> None:
    assert describe_exit(3) == "exited with code 3"
    assert describe_exit(-9) == "was killed by SIGKILL"
    assert describe_exit(-1000).endswith("1000")


def test_a_worker_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 4)
    monkeypatch.delenv(CORES, raising=False)
    assert own_cores() == 4
    for share, cores in (("3", 3), ("9", 4)):
        monkeypatch.setenv(CORES, share)
        assert own_cores() == cores


@pytest.mark.medium
def test_an_interrupt_while_the_server_imports_shows_no_traceback(tmp_path: Path) -> None:
    marker = tmp_path / "importing"
    (tmp_path / "slow.py").write_text(
        f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(1)\n"
    )
    (tmp_path / "script.py").write_text(
        "import signal, time\n"
        "from ssdd_bench.launch.processes import start_server\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        "    start_server(['slow'])\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    until(marker.exists)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=60) == ("interrupted\n", "")


def begin() -> None:
    processes.start_server(["json"])


@pytest.mark.medium
def test_a_fork_of_a_process_with_workers_is_refused_them() -> None:
    begin()
    ending = attempt(begin)
    assert ending.kind == "refused", ending.text
    assert ending.is_good
    begin()
