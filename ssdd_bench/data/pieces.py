"""Items of what can only be read from its start, such as compressed files."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from ssdd_bench.errors import DataError, counted

KEPT_BYTES: Final = 64 << 20
"""Size of the pieces that are kept."""


class Pieces:
    """Items by number, read in pieces from the first on; the last few pieces are kept.

    Numbers that ascend but for a little disorder cost one pass. An item further back than the
    pieces that are kept, of which there are two or more, costs another pass.

    Args:
        begin: yields the pieces in order, from the first on; arrays of NumPy or of Arrow.
    """

    def __init__(self, begin: Callable[[], Iterator[Any]]) -> None:
        self._begin = begin
        self._kept: deque[tuple[int, Any]] = deque()  # the number of the first item, and the piece
        self._bytes = 0  # of the pieces that are kept
        self._pieces: Iterator[Any] | None = None
        self._next = 0
        self._error: DataError | None = None
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> Any:
        """Return an item.

        Raises:
            DataError: ``begin`` raised it before this item, or yielded too few.
        """
        with self._lock:
            return self._find(number)

    def _find(self, number: int) -> Any:
        for start, piece in self._kept:
            if start <= number < start + len(piece):
                return piece[number - start]
        if number < self._next or self._pieces is None:
            if self._error and number >= self._next:
                raise self._error
            self._kept.clear()
            self._bytes = 0
            self._pieces, self._next, self._error = self._begin(), 0, None
        while True:
            try:
                if (piece := next(self._pieces, None)) is None:
                    raise DataError(f"it ends after {counted(self._next, 'item')}")
            except BaseException as error:
                self._pieces = None
                self._error = error if isinstance(error, DataError) else None
                raise
            start, self._next = self._next, self._next + len(piece)
            self._kept.append((start, piece))
            self._bytes += piece.nbytes
            while len(self._kept) > 2 and self._bytes > KEPT_BYTES:
                self._bytes -= self._kept.popleft()[1].nbytes
            if number < self._next:
                return piece[number - start]
