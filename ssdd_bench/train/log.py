"""Log of a training: ``metrics.jsonl``, and TensorBoard where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrainState:
    """Progress of a training."""

    iteration: int  # iterations done
    losses: dict[str, float]  # weighted terms, averaged since the previous report
    seconds: float  # of training in all, over every resumption
    images_per_s: float  # since this start


class MetricsLog:
    """Log that appends rows; a resumed run continues the same files."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._board: Any = None
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Write one row of the kind ``train`` or ``evaluation``."""
        row = {"kind": kind, "iteration": iteration, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, iteration)
            self._board.flush()
