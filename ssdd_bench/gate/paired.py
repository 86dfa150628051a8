"""The change of a metric over the same images on two sides, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.metrics.intervals import NORMAL_95, bootstrap
from ssdd_bench.report.frame import Scores
from ssdd_bench.report.pooled import POOLED, squared_errors


@dataclass(frozen=True)
class PairedChange:
    """Change over images.

    Attributes:
        change: head minus base.
        interval: 95%, by bootstrap over images.
        n: number of images.
    """

    change: float
    interval: tuple[float, float]
    n: int

    @property
    def deviation(self) -> float:
        """Standard deviation of the change; 0 if no image changed."""
        small = np.sqrt(self.n / (self.n - 1)) if self.n > 1 else 1.0  # as of a sample's variance
        return float(small * (self.interval[1] - self.interval[0]) / 2 / NORMAL_95)

    def critical(self, level: float | None = None) -> float:
        """Return the change in one direction that chance exceeds with a probability.

        Args:
            level: that probability; by default that of the interval, 2.5%.
        """
        from scipy.stats import t as student

        if level is None:
            return (self.interval[1] - self.interval[0]) / 2
        return float(student.ppf(1 - level, max(1, self.n - 1))) * self.deviation


def paired_change(base: Scores, head: Scores, key: str) -> PairedChange | None:
    """Compare the images of two sides.

    Args:
        base: scores of single images by metric.
        head: of the same images.
        key: of the metric.

    Returns:
        None if the metric has no scores of single images.
    """
    if key == POOLED:
        return _pooled_change(base, head)
    if key not in base or key not in head:
        return None
    gaps = np.asarray(head[key] - base[key], np.float64)
    gaps = gaps[np.isfinite(gaps)]  # images whose scores are finite on both sides
    if not gaps.any():
        return PairedChange(0.0, (0.0, 0.0), len(gaps))
    return PairedChange(float(gaps.mean()), bootstrap(gaps), len(gaps))


def any_spoilt(base: Scores, head: Scores, key: str) -> bool:
    """Return True if an image that was perfect is not, whatever else became perfect."""
    if key not in base or key not in head:
        return False
    before, after = base[key].align(head[key], join="inner")
    return bool((np.isposinf(before) & ~np.isposinf(after)).any())


def _pooled_change(base: Scores, head: Scores) -> PairedChange | None:
    """Resample squared errors, in pairs; None if a sample may have no error at all."""
    before, after = map(squared_errors, (base, head))
    if before is None or after is None:
        return None
    sides = [np.asarray(one.sort_index(), np.float64) for one in (before, after)]
    errors = np.stack(sides, axis=1)
    if not (errors > 0).all():
        return None
    if (errors[:, 0] == errors[:, 1]).all():
        return PairedChange(0.0, (0.0, 0.0), len(errors))
    return PairedChange(_gain(errors), bootstrap(errors, _gain), len(errors))


def _gain(errors: NDArray[np.float64]) -> float:
    """Return the gain in dB of the second of two columns of squared errors."""
    before, after = errors.mean(axis=0)
    return float(10 * np.log10(before / after))
