"""Interface through which the training loop gets its data."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Shard:
    """Part of an iteration's batch that one process computes in one pass.

    Attributes:
        iteration: counted from 0.
        start: first row of the shard in the batch.
        size: rows of the shard.
        batch_size: rows of the whole batch, over all processes.
    """

    iteration: int
    start: int
    size: int
    batch_size: int

    @property
    def first(self) -> int:
        """Number of the shard's first image, counted over the whole run."""
        return self.iteration * self.batch_size + self.start

    @property
    def rows(self) -> slice:
        """Rows of the shard in the batch."""
        return slice(self.start, self.start + self.size)


class Batches(Protocol):
    """Source of training data: a pure function of the seed and the shard."""

    def batches(self, shards: Iterator[Shard]) -> Generator[Any, None, None]:
        """Yield the data of each shard: a tensor, or a tuple of tensors, on the CPU."""
