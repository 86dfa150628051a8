"""The cost of freed memory, and the peak of one call."""

import subprocess
import sys
import threading
import time

import pytest
import torch

from ssdd_bench.evaluation import memory

CODE = """
import resource
import sys

import torch

from ssdd_bench.evaluation.memory import keep_freed_memory, peak_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
image = torch.ones(16, 1024, 1024)  # 64 MiB
for _ in range(30):  # the heap grows for a while
    image + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    image + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
bytes, kind = peak_memory(lambda: image + 1, torch.device("cpu"))
print(bytes)
print(kind == "process resident")
"""


def page_faults_and_peak(how):
    done = subprocess.run(
        [sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True
    )
    faults, peak, exact = done.stdout.split()
    return int(faults), int(peak), exact == "True"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a matter of the GNU C library")
def test_a_large_tensor_finds_the_memory_of_the_last():
    (returned, peak, exact), (kept, peak_of_kept, _) = map(page_faults_and_peak, ("return", "keep"))
    assert returned > 20 * 100
    assert kept < returned / 5  # the heap may still grow once or twice
    if not exact:
        pytest.skip("this kernel does not forget a process's peak: a sample may miss it")
    for measured in (peak, peak_of_kept):
        assert measured == pytest.approx(64 << 20, rel=0.05)


@pytest.mark.medium
def test_a_sampled_peak_sees_what_stays_for_a_while(monkeypatch):
    monkeypatch.setattr(memory, "_restart_resident_peak", lambda: None)

    def hold():
        torch.ones(64 << 18)  # 64 MiB
        held = torch.ones(64 << 18)
        time.sleep(0.1)
        return held

    threads = threading.active_count()
    peak, kind = memory.peak_memory(hold, torch.device("cpu"))
    assert kind == "process resident, sampled"
    assert (60 << 20) < peak < (200 << 20)
    with pytest.raises(ZeroDivisionError):
        memory.peak_memory(lambda: 1 / 0, torch.device("cpu"))
    assert threading.active_count() == threads


def test_a_sampled_peak_sees_what_is_there_at_the_end(monkeypatch):
    monkeypatch.setattr(memory, "_restart_resident_peak", lambda: None)
    monkeypatch.setattr(memory, "SAMPLE_S", 600)
    held = []
    peak, _ = memory.peak_memory(lambda: held.append(torch.ones(64 << 18)), torch.device("cpu"))
    assert peak > 60 << 20


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A folder in the place of the root of files."""
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / path.removeprefix("/"))
    folder = tmp_path / "proc" / "self"
    folder.mkdir(parents=True)
    (folder / "status").write_text("VmPeak:\t 9 kB\nVmHWM:\t 5 kB\nVmRSS:\t 3 kB\n")
    return folder


def test_a_peak_that_the_kernel_keeps(proc, monkeypatch):
    monkeypatch.setattr(memory, "release_memory", lambda device: None)

    def call():
        assert (proc / "clear_refs").read_text() == "5"
        (proc / "status").write_text("VmHWM:\t 12 kB\n")

    assert memory.peak_memory(call, torch.device("cpu")) == (7 * 1024, "process resident")


def test_a_kernel_that_keeps_no_peak(proc, monkeypatch):
    monkeypatch.setattr(memory, "release_memory", lambda device: None)
    monkeypatch.setattr(memory, "_sample_peak", lambda call: call())
    (proc / "clear_refs").mkdir()  # cannot be written
    found = memory.peak_memory(lambda: 77, torch.device("cpu"))
    assert found == (77, "process resident, sampled")


def test_a_peak_of_a_gpu_is_above_what_was_there(monkeypatch):
    gpu, seen = torch.device("cuda"), []

    def note(name, value=None):
        return lambda device: (seen.append((name, device)), value)[1]

    monkeypatch.setattr(memory, "release_memory", note("release"))
    for name, value in (
        ("synchronize", None),
        ("reset_peak_memory_stats", None),
        ("memory_allocated", 10),
        ("max_memory_allocated", 35),
    ):
        monkeypatch.setattr(torch.cuda, name, note(name, value))
    assert memory.peak_memory(lambda: seen.append("call"), gpu) == (25, "cuda allocated")
    assert seen == [
        ("release", gpu),
        ("synchronize", gpu),
        ("reset_peak_memory_stats", gpu),
        ("memory_allocated", gpu),
        "call",
        ("synchronize", gpu),
        ("max_memory_allocated", gpu),
    ]


def test_memory_is_kept_once_it_was_asked_for():
    before = memory.keep_freed_memory.cache_info().currsize
    memory.keep_freed_memory.cache_clear()
    try:
        assert memory.freed_memory_is_kept() is False
        assert memory.keep_freed_memory.cache_info().currsize == 0, "asking must not keep it"
        kept = memory.keep_freed_memory()
        assert memory.freed_memory_is_kept() is kept
    finally:
        if not before:
            memory.keep_freed_memory.cache_clear()


def test_memory_is_kept_if_the_library_takes_every_option(monkeypatch):
    keep = memory.keep_freed_memory.__wrapped__
    for refused in (None, -4, -1, -2):
        taken = []

        def mallopt(option, value, taken=taken, refused=refused):
            taken.append((option, value))
            return option != refused

        monkeypatch.setattr(memory.ctypes, "CDLL", lambda name, it=mallopt: Library(name, it))
        monkeypatch.setattr(memory.sys, "platform", "linux")
        assert keep() is (refused is None)
        expected = [(-4, 0), (-1, -1), (-2, 64 << 20)]
        assert taken == expected[: [-4, -1, -2, None].index(refused) + 1]
        monkeypatch.setattr(memory.sys, "platform", "darwin")
        del taken[:]
        assert keep() is False
        assert not taken


class Library:
    def __init__(self, name, mallopt):
        assert name is None  # this process
        self.mallopt = mallopt
