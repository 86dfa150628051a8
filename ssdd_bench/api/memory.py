"""Run calls that may run out of memory on smaller batches."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from ssdd_bench.errors import UserError

T = TypeVar("T")

# Libraries below torch report a failed allocation as a RuntimeError with the name of its status;
# cuDNN that finds no workspace for any of its algorithms says that it has no engine.
FULL = (
    "can't allocate memory",
    "CUDA out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute this computation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error says that memory of the device or the host is full."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in FULL)


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

    def fit(self, call: Callable[[int], T]) -> T:
        """Run ``call`` with a number of images, :attr:`size` at first, until it fits.

        Returns:
            Its result, which may not be None.

        Raises:
            UserError: not even one image fits.
        """
        while True:
            size = self.size
            if (result := self.attempt(partial(call, size), size)) is not None:
                return result


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
