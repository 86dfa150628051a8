"""Keep freed memory for the next call, and measure the peak memory of one call."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
import torch

from ssdd_bench.api.memory import release_memory

SAMPLE_S = 0.002  # between two readings of the process; allocations that matter live far longer

# From <malloc.h>: M_MMAP_MAX (no block is mapped by itself), M_TRIM_THRESHOLD (the heap never
# shrinks by itself), M_TOP_PAD (it grows by so many bytes).
MALLOC_OPTIONS = ((-4, 0), (-1, -1), (-2, 64 << 20))


@cache
def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees for its next call.

    By default the GNU C library maps every large tensor anew and returns it at once: the kernel
    then clears the pages every time, half of the time of decoding at 512 px on a CPU.

    Returns:
        True if the C library took the setting.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is None:
        return False
    return all(set_option(option, value) for option, value in MALLOC_OPTIONS)


def freed_memory_is_kept() -> bool:
    """Return True if :func:`keep_freed_memory` was called in this process, with success."""
    return keep_freed_memory.cache_info().currsize > 0 and keep_freed_memory()


def peak_memory(call: Callable[[], object], device: torch.device) -> tuple[int, str]:
    """Measure the memory that one call takes on top of what was in use before it.

    Returns:
        Bytes, and how they were counted: ``cuda allocated`` and ``process resident`` (a peak that
        the kernel keeps) are exact; ``process resident, sampled`` reads every two milliseconds.
    """
    release_memory(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before, "cuda allocated"
    if (resident_before := _restart_resident_peak()) is not None:
        call()
        return _resident_peak() - resident_before, "process resident"
    return _sample_peak(call), "process resident, sampled"


def _restart_resident_peak() -> int | None:
    """Reset the kernel's peak and return the resident bytes; None where it cannot be reset."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)
        return _resident_peak()
    except OSError:
        return None


def _resident_peak() -> int:
    """Return the kernel's peak of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _sample_peak(call: Callable[[], object]) -> int:
    """Return the largest growth of this process's resident memory that a thread reads."""
    process, done = psutil.Process(), threading.Event()
    readings = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            readings.append(process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        call()
    finally:
        done.set()
        thread.join()
    readings.append(process.memory_info().rss)
    return max(readings) - readings[0]
