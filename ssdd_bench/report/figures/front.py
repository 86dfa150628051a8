"""The Pareto front of quality and speed or rate, and the noise that it allows for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssdd_bench.metrics.intervals import NORMAL_95
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.ranking import is_eligible, is_tied

PAIRED: Final = "95% interval of the difference from the panel's mean, image by image"
INTERVAL: Final = "95% interval over images"
SEEDS: Final = "range over seeds"
COSTS: Final = ("floats_per_pixel", "bits_per_pixel")  # columns of which less is better

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Scores of rows of one panel with their noise.

    Attributes:
        low: lower ends (N) of the error bars; NaN where nothing is known.
        high: upper ends.
        kind: what the bars are, in words; "" for none.
        ahead: (N, N), 1 where the row is better than the column's beyond noise, -1 where it is
            worse, and 0 where the difference is within noise.
    """

    low: Floats
    high: Floats
    kind: str
    ahead: NDArray[np.int8]

    def ends(self) -> list[tuple[float, float] | None]:
        """Return both ends of each row's error bar; None where nothing is known."""
        pairs = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return [None if np.isnan(low + high) else (low, high) for low, high in pairs]


def judge_quality(rows: pd.DataFrame, metric: str) -> Quality:
    """Compare the finite scores of rows on the same images, two by two.

    Where all rows have scores of the same single images, the error of a difference is that of the
    mean difference image by image; else it comes from both intervals, or from the range over seeds.
    Scores without any of these differ as soon as they are unequal.
    """
    values = rows[metric].to_numpy(float)
    sign = 1.0 if metric_directions(rows)[metric] else -1.0
    lead = sign * (values[:, None] - values[None, :])
    scores = _same_images(rows, metric)
    if scores is not None:
        spread = np.cov(scores) / scores.shape[1]
        variances = np.diag(spread)
        error = np.sqrt(np.maximum(variances[:, None] + variances[None, :] - 2 * spread, 0))
        half = NORMAL_95 * (scores - scores.mean(axis=0)).std(axis=1, ddof=1)
        half = half / np.sqrt(scores.shape[1])
        low, high, kind, tied = values - half, values + half, PAIRED, is_tied(lead, error)
    else:
        low, high, kind = _ends(rows, metric)
        if kind == SEEDS:
            tied = _overlap(low, high)
        else:
            errors = (high - low) / (2 * NORMAL_95)
            tied = is_tied(lead, np.hypot(errors[:, None], errors[None, :]))
    ahead = np.where(tied, 0, np.sign(lead)).astype(np.int8)
    return Quality(low, high, kind, ahead)


def pareto_front(rows: pd.DataFrame, quality: Quality, x: str = "decode_ips") -> pd.Series[bool]:
    """Mark the eligible rows that no other eligible one beats.

    A row beats another if it is better beyond noise in quality or in ``x``, and within noise or
    better in the other. Two speeds are within noise if their quartiles overlap; rates are exact.

    Args:
        rows: of one panel.
        quality: of these rows.
        x: ``decode_ips``, of which more is better, or one of ``COSTS``.
    """
    ahead = _ahead(rows, x)
    better = ((quality.ahead > 0) | (ahead > 0)) & (quality.ahead >= 0) & (ahead >= 0)
    may = is_eligible(rows).to_numpy(bool)
    beaten = (better & may[:, None]).any(axis=0)
    return pd.Series(may & ~beaten, rows.index)


def _ahead(rows: pd.DataFrame, x: str) -> NDArray[np.int8]:
    """Compare rows two by two in speed or rate, as :attr:`Quality.ahead` does in quality."""
    middle = rows[x].to_numpy(float)
    low = high = middle
    if f"{x}_q1" in rows:
        low, high = (
            np.where(np.isnan(ends := rows[f"{x}_{end}"].to_numpy(float)), middle, ends)
            for end in ("q1", "q3")
        )
    sign = np.sign(middle[:, None] - middle[None, :]) * (-1 if x in COSTS else 1)
    return np.where(_overlap(low, high), 0, sign).astype(np.int8)


def _overlap(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Return, two by two, True where the ranges of two rows have a value in common."""
    return (low[:, None] <= high[None, :]) & (low[None, :] <= high[:, None])


def _same_images(rows: pd.DataFrame, metric: str) -> Floats | None:
    """Stack the scores (N, images) of single images; None unless all rows have the same ones."""
    found = [each.get(metric) for each in rows["scores"]]
    first = found[0]
    if len(found) < 2 or first is None or len(first) < 2:
        return None
    if any(one is None or not one.index.equals(first.index) for one in found):
        return None
    scores = np.array(found, float)
    return scores if np.isfinite(scores).all() else None


def _ends(rows: pd.DataFrame, metric: str) -> tuple[Floats, Floats, str]:
    """Return the ends of intervals, or the range over seeds where all rows have one."""
    for low, high, kind in (("low", "high", INTERVAL), ("least", "greatest", SEEDS)):
        if f"{metric}_{low}" in rows and rows[f"{metric}_{low}"].notna().all():
            ends = rows[[f"{metric}_{low}", f"{metric}_{high}"]].to_numpy(float)
            return ends[:, 0], ends[:, 1], kind
    nothing = np.full(len(rows), np.nan)
    return nothing, nothing, ""
