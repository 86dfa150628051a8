"""Threads that work ahead of the one that takes their results, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class InlineExecutor(Executor):
    """Call functions at once, in the thread that submits them; their errors surface there."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Return a finished future."""
        future: Future[T] = Future()
        future.set_result(function(*args, **kwargs))
        return future


class WorkerThreads(ThreadPoolExecutor):
    """A pool that calls nothing more once its ``with`` block is left, for whatever reason."""

    def __exit__(self, *error: object) -> None:
        self.shutdown(cancel_futures=True)


def executor(threads: int, name: str) -> Executor:
    """Return a pool of threads for a ``with`` block; without threads, one that calls in line."""
    return WorkerThreads(threads, thread_name_prefix=name) if threads else InlineExecutor()


def map_ahead(
    function: Callable[[S], T], items: Iterable[S], threads: int, name: str = "load"
) -> Iterator[T]:
    """Yield ``function`` of each item in order, computed ahead by threads.

    At most four results for each worker are waiting, so that memory does not grow with the items.
    """
    remaining = iter(items)
    waiting: deque[Future[T]] = deque()
    with executor(threads, name) as pool:
        while True:
            for item in islice(remaining, max(1, 4 * threads) - len(waiting)):
                waiting.append(pool.submit(function, item))
            if not waiting:
                return
            yield waiting.popleft().result()
