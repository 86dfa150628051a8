"""Run calls that may run out of memory, and measure the peak memory of one call."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from ssdd_bench.errors import UserError

T = TypeVar("T")

SAMPLE_S = 0.002  # between two readings of the process; allocations that matter live far longer

# From <malloc.h>: M_MMAP_MAX (no block is mapped by itself), M_TRIM_THRESHOLD (the heap never
# shrinks by itself), M_TOP_PAD (it grows by so many bytes).
MALLOC_OPTIONS = ((-4, 0), (-1, -1), (-2, 64 << 20))


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error says that memory of the device or the host is full."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


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


class OOMSplitter:
    """Find the batch size that fits into memory: halve it whenever a call runs out of it.

    A size that did not fit once is not tried again.

    Args:
        size: images of the largest batch.
        device: of the calls.

    Attributes:
        size: images of the largest batch that is tried from now on.
        warnings: a line for each time it was halved.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self.warnings: list[str] = []
        self._device = device

    def attempt(self, call: Callable[[], T], size: int) -> T | None:
        """Run ``call`` on ``size`` images.

        Returns:
            Its result; None if it ran out of memory, after which :attr:`size` is half of ``size``.

        Raises:
            UserError: not even one image fits.
        """
        try:
            return call()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise UserError(
                    f"out of memory with one image at a time on {self._device}: choose a smaller "
                    "resolution"
                ) from error
        # Free memory outside `except`: the traceback keeps the failed call's tensors alive.
        release_memory(self._device)
        self.size = size // 2
        self.warnings.append(f"out of memory with {size} images at a time: reduced to {self.size}")
        return None


def release_memory(device: torch.device) -> None:
    """Return unused memory, so that a smaller batch starts from a clean state."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        # The C library keeps freed blocks and would hide what the next call takes.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent from musl
        if trim is not None:
            trim(0)


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
        return _resident("VmHWM") - resident_before, "process resident"
    return _sample_peak(call), "process resident, sampled"


def _restart_resident_peak() -> int | None:
    """Reset the kernel's peak and return the resident bytes; None where it cannot be reset."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)
        return _resident("VmHWM")
    except OSError:
        return None


def _resident(field: str) -> int:
    """Read a number of bytes from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


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
