"""Running out of memory, noticed; and how much one call takes at its peak."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType

import psutil
import torch

SAMPLE_S = 0.002  # between two looks at the process; allocations that matter live far longer

# From <malloc.h>: M_MMAP_MAX (no block is mapped by itself), M_TRIM_THRESHOLD (the heap never
# shrinks by itself), M_TOP_PAD (it grows by so many bytes).
MALLOC_OPTIONS = ((-4, 0), (-1, -1), (-2, 64 << 20))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a full memory, of the device or the host, from other errors."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next call; return True if that is possible.

    By default the GNU C library maps every large tensor anew and gives it back at once: the kernel
    then clears its pages again and again, half of the time of decoding at 512 px on a CPU.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is None:
        return False
    return all(set_option(option, value) for option, value in MALLOC_OPTIONS)


def freed_memory_is_kept() -> bool:
    """Return True if :func:`keep_freed_memory` was called in this process, with success."""
    return keep_freed_memory.cache_info().currsize > 0 and keep_freed_memory()


def release_memory(device: torch.device) -> None:
    """Give unused memory back, so that a smaller batch starts from a clean state."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        # The C library keeps freed blocks and would hide what the next call takes.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent from musl
        if trim is not None:
            trim(0)


def peak_memory(call: Callable[[], object], device: torch.device) -> tuple[int, str]:
    """Measure the memory one call takes on top of what was in use before, weights included.

    Returns:
        Bytes, and what was counted: ``cuda allocated`` and ``process resident``, whose peak the
        kernel keeps, miss nothing; ``process resident, sampled`` looks every two milliseconds.
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
    with _SampledPeak() as resident:
        call()
    return resident.peak - resident.before, "process resident, sampled"


def _restart_resident_peak() -> int | None:
    """Let the kernel forget its peak and tell what is resident; None where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)
        return _resident("VmHWM")
    except OSError:
        return None


def _resident(field: str) -> int:
    """Bytes under a name of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


class _SampledPeak:
    """Watch this process's resident memory from a thread."""

    def __enter__(self) -> _SampledPeak:
        self._process = psutil.Process()
        self._done = threading.Event()
        self.before = self.peak = int(self._process.memory_info().rss)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, int(self._process.memory_info().rss))
