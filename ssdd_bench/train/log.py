"""Log of a training: ``metrics.jsonl``, and TensorBoard where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrainState:
    """Progress of a training.

    Attributes:
        iteration: iterations done.
        losses: weighted terms, averaged since the previous report.
        seconds: of training in all, over every resumption.
        images_per_s: since this start.
    """

    iteration: int
    losses: dict[str, float]
    seconds: float
    images_per_s: float


class MetricsLog:
    """Log that appends rows; a resumed run continues the same files.

    Args:
        folder: of ``metrics.jsonl`` and ``tensorboard/``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._board = _board(folder / "tensorboard")

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Write one row.

        Args:
            kind: ``train`` or ``evaluation``.
            iteration: iterations done.
            values: by name.
        """
        row = {"kind": kind, "iteration": iteration, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, iteration)
            self._board.flush()


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
