"""The cost of freed memory, and the peak of one call."""

import subprocess
import sys
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
for _ in range(10):  # the heap grows for a while
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
    assert kept < returned / 20
    if not exact:
        pytest.skip("this kernel does not forget a process's peak: a sample may miss it")
    for measured in (peak, peak_of_kept):
        assert measured == pytest.approx(64 << 20, rel=0.05)


def test_a_sampled_peak_sees_what_stays_for_a_while(monkeypatch):
    monkeypatch.setattr(memory, "_restart_resident_peak", lambda: None)

    def hold():
        torch.ones(64 << 18)  # 64 MiB
        held = torch.ones(64 << 18)
        time.sleep(0.1)
        return held

    peak, kind = memory.peak_memory(hold, torch.device("cpu"))
    assert kind == "process resident, sampled"
    assert (60 << 20) < peak < (200 << 20)
