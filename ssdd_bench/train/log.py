"""Logs of a training: loss terms, read from the device many at a time, and rows on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.tracking.trackers import Trackers


class LossLog:
    """Loss terms since the last mean; they stay on their device until :meth:`read`.

    Args:
        name: of the stage, for the error about a loss that is not finite.
        hint: what to do then, for the same message.
    """

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint
        self._unread: list[tuple[int, dict[str, Tensor]]] = []
        self._read: list[dict[str, float]] = []

    def __len__(self) -> int:
        return len(self._unread) + len(self._read)

    def add(self, iteration: int, terms: dict[str, Tensor]) -> None:
        """Add the scalars of an iteration, counted from 0."""
        self._unread.append((iteration, terms))

    def read(self) -> None:
        """Copy what was added to the CPU, in one transfer.

        Raises:
            UserError: a term is not finite; names it and its iteration.
        """
        if not self._unread:
            return
        every = [value.float() for _, terms in self._unread for value in terms.values()]
        values = iter(torch.stack(every).tolist())
        unread, self._unread = self._unread, []
        for iteration, terms in unread:
            self._read.append({term: next(values) for term in terms})
            for term, value in self._read[-1].items():
                if not math.isfinite(value):
                    raise UserError(
                        f"{self._name}: loss term '{term}' is {value} at iteration {iteration}: "
                        f"{self._hint}"
                    )

    def mean(self) -> dict[str, float]:
        """Return the mean of every term over the iterations, and begin anew."""
        self.read()
        rows, self._read = self._read, []
        names = dict.fromkeys(term for row in rows for term in row)
        return {term: sum(row.get(term, 0.0) for row in rows) / len(rows) for term in names}


class MetricsLog:
    """Log in ``metrics.jsonl`` and in trackers, if there are any.

    A resumed run continues the same file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self.trackers = Trackers()

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Write one row of the kind ``train`` or ``evaluation``.

        Raises:
            OutputError: the file cannot be written.
        """
        row = {"kind": kind, "iteration": iteration, **values}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.trackers.log({f"{kind}/{name}": value for name, value in values.items()}, iteration)
