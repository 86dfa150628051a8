"""Processes for work that needs no device, such as drawing; workers on devices are slots."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final

from ssdd_bench.errors import UserError
from ssdd_bench.launch.processes import METHOD, cores, start_server, without_main

MOST: Final = 4
"""Processes at most: more would cost more memory than they save time."""


@contextmanager
def process_pool(preload: Sequence[str]) -> Iterator[Executor | None]:
    """Offer as many processes as there are cores; at the end, what has not begun is dropped.

    Yields None where there is one core only, where the system has no semaphores to share, or where
    this process is a copy of one that has such processes.

    Args:
        preload: modules that the processes share, imported while this process does other things.
    """
    executor = None
    if cores() > 1:
        with suppress(ImportError, NotImplementedError, OSError, UserError):
            start_server(preload)
            executor = _Pool(min(cores(), MOST), multiprocessing.get_context(METHOD), _begin)
    try:
        yield executor
    finally:
        if executor is not None:
            executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave interrupts to the program, and garbage where it is: the process lives for seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


class _Pool(ProcessPoolExecutor):
    """Starts its processes without the program's main module."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with without_main():
            return super().submit(fn, *args, **kwargs)
