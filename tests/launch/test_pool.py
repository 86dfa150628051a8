"""Processes for drawing: as many as cores, without a guard of the main module, quick to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path

import pytest
from forked import attempt

from ssdd_bench.launch import pool
from ssdd_bench.launch.pool import process_pool


def test_one_core_has_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "cores", lambda: 1)
    with process_pool(["json"]) as executor:
        assert executor is None


def test_a_system_without_semaphores_has_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no semaphores")

    monkeypatch.setattr(pool, "cores", lambda: 2)
    monkeypatch.setattr(ProcessPoolExecutor, "__init__", refuse)
    with process_pool(["json"]) as executor:
        assert executor is None


def offers_none() -> None:
    with process_pool(["json"]) as executor:
        assert executor is None


@pytest.mark.medium
def test_a_copy_of_a_process_with_a_server_has_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "cores", lambda: 2)
    with process_pool(["json"]) as executor:
        assert executor is not None
    ending = attempt(offers_none)
    assert ending.is_good, ending


@pytest.mark.medium
def test_there_are_as_many_processes_as_cores_and_four_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cores, expected in ((2, 2), (3, 3), (64, 4)):
        monkeypatch.setattr(pool, "cores", lambda cores=cores: cores)
        with process_pool(["json"]) as executor:
            assert executor is not None
            for _ in range(expected + 2):
                executor.submit(time.sleep, 0.2)
            assert len(executor._processes) == expected  # type: ignore[attr-defined]


@pytest.mark.medium
def test_a_killed_process_is_told_and_ends_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "cores", lambda: 2)
    began = time.monotonic()
    with process_pool(["json"]) as executor:
        assert executor is not None
        process = executor.submit(os.getpid).result()
        waiting = [executor.submit(time.sleep, 60) for _ in range(4)]
        os.kill(process, signal.SIGKILL)
        for one in waiting:
            with pytest.raises(BrokenExecutor):
                one.result()
    assert time.monotonic() - began < 30


@pytest.mark.medium
def test_a_script_needs_no_guard_and_an_interrupt_drops_the_work(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, time\n"
        "from ssdd_bench.launch import pool\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "pool.cores = lambda: 2\n"
        "with pool.process_pool(['json']) as executor:\n"
        "    waits = [executor.submit(time.sleep, 1) for _ in range(40)]\n"
        "    waits[0].result()\n"
        "    print('begun', flush=True)\n"
        "    waits[-1].result()\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=-1, stderr=-1, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode != 0
    assert errors.count("Traceback") == 1, errors  # that of the script
    assert "KeyboardInterrupt" in errors
