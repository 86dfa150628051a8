"""State of all metrics after some images, to be saved and merged. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SuiteState:
    """State of a :class:`ssdd_bench.metrics.suite.MetricSuite` after some images.

    Attributes:
        arrays: of float64, float32 and int64, by name; some may be mapped from temporary files,
            which are deleted, so save them before long.
        facts: everything else, as JSON has it.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    facts: Mapping[str, Any]

    @property
    def unavailable(self) -> dict[str, str]:
        """Reason by key of the metrics that have no scores of these images."""
        metrics = self.facts["metrics"].items()
        return {key: one["unavailable"] for key, one in metrics if "unavailable" in one}
