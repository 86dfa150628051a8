"""Items of what can only be read from its start, such as compressed files."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from ssdd_bench.errors import DataError, counted

T = TypeVar("T")


class Pieces(Generic[T]):
    """Items by number, read in pieces from the first on; the last few pieces are kept.

    Numbers that ascend but for a little disorder cost one pass. An item further back than the
    pieces that are kept costs another pass.

    Args:
        begin: yields the pieces in order, from the first on.
        keep: bytes of the pieces that are kept; two are kept in any case.
        size: returns the bytes of a piece.
    """

    def __init__(
        self,
        begin: Callable[[], Iterator[Sequence[T]]],
        keep: int,
        size: Callable[[Sequence[T]], int],
    ) -> None:
        self._begin = begin
        self._limit = keep
        self._size = size
        self._kept: deque[tuple[int, Sequence[T], int]] = deque()
        self._total = 0
        self._pieces: Iterator[Sequence[T]] | None = None
        self._next = 0
        self._error: DataError | None = None
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> T:
        """Return an item.

        Raises:
            DataError: ``begin`` raised it before this item, or yielded too few.
        """
        with self._lock:
            return self._find(number)

    def _find(self, number: int) -> T:
        for start, piece, _ in self._kept:
            if start <= number < start + len(piece):
                return piece[number - start]
        if number < self._next or self._pieces is None:
            if self._error and number >= self._next:
                raise self._error
            self._kept.clear()
            self._total = 0
            self._pieces, self._next, self._error = self._begin(), 0, None
        while True:
            try:
                piece = next(self._pieces)
            except StopIteration:
                self._error = DataError(f"it ends after {counted(self._next, 'item')}")
            except DataError as error:
                self._error = error
            except BaseException:
                self._pieces = None
                self._next = 0
                raise
            if self._error:
                self._pieces = None
                raise self._error
            start, self._next = self._next, self._next + len(piece)
            self._keep(start, piece)
            if number < self._next:
                return piece[number - start]

    def _keep(self, start: int, piece: Sequence[T]) -> None:
        size = self._size(piece)
        self._kept.append((start, piece, size))
        self._total += size
        while len(self._kept) > 2 and self._total > self._limit:
            self._total -= self._kept.popleft()[2]
