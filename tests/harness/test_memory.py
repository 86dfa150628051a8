"""What freed memory costs, and what one call takes at its peak."""

import subprocess
import sys

import pytest

CODE = """
import resource
import sys

import torch

from ssdd_bench.harness.memory import keep_freed_memory, peak_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
image = torch.ones(16, 1024, 1024)  # 64 MiB
for _ in range(10):  # the heap grows for a while
    image + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    image + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(peak_memory(lambda: image + 1, torch.device("cpu"))[0])
"""


def page_faults_and_peak(how):
    done = subprocess.run(
        [sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of the GNU C library")
def test_a_large_tensor_finds_the_memory_of_the_last():
    (returned, peak), (kept, peak_of_kept) = map(page_faults_and_peak, ("return", "keep"))
    assert returned > 20 * 100
    assert kept < returned / 20
    for measured in (peak, peak_of_kept):
        assert measured == pytest.approx(64 << 20, rel=0.05)
