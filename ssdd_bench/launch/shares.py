"""Shares: a run is divided among launches that know nothing of each other.

Each takes a contiguous slice of the chunks of all jobs, in the order of the jobs, so that it loads
few groups. The slices follow from the costs of the chunks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ssdd_bench.launch.scheduler import Shares, Task


@dataclass(frozen=True)
class Share:
    """Number ``index`` of ``count`` shares, from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, costs: Mapping[Task, Sequence[float]]) -> Shares:
        """Return the chunks of this share.

        Args:
            costs: of each chunk of each job, in the order of the jobs, in any unit.

        Examples:
            >>> Share(1, 2).of({(0, 0): [1, 1, 1], (0, 1): [1]})
            {(0, 0): range(2, 3), (0, 1): range(0, 1)}
        """
        flat = [(task, chunk) for task, row in costs.items() for chunk in range(len(row))]
        cost = [one for row in costs.values() for one in row]
        total = sum(cost)
        ours: dict[Task, range] = {}
        for (task, chunk), one, end in zip(flat, cost, accumulate(cost), strict=True):
            if int(self.count * (end - one / 2) / total) == self.index:
                ours[task] = range(ours[task].start if task in ours else chunk, chunk + 1)
        return ours
