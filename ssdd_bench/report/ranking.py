"""Rules of ranking: which rows are eligible, which is best, and which differences are noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from ssdd_bench.metrics.intervals import NORMAL_95
from ssdd_bench.report.frame import Scores, metric_directions
from ssdd_bench.report.pooled import DECIBELS, POOLED, squared_errors

ELIGIBLE_RULE: Final = (
    "Controls and lossless rows are not ranked, nor are codecs beside tokenizers."
)
TIED_WORDS: Final = "not significantly different from the best"
TIE_RULE: Final = f"{TIED_WORDS}: by less than twice the standard error of the difference."


def is_eligible(rows: pd.DataFrame) -> pd.Series[bool]:
    """Mark the rows that may be called best: all but controls and lossless reconstructions."""
    scores = rows[list(metric_directions(rows))]
    return (rows["role"] != "control") & ~scores.isin([math.inf, -math.inf]).any(axis=1)


def is_baseline(rows: pd.DataFrame) -> pd.Series[bool]:
    """Mark baselines: the codecs and controls that stand beside tokenizers for comparison.

    At the rates of photographs codecs beat every tokenizer, at a hundred times the speed, but no
    model can be trained on a file. Without any tokenizer among the rows, none is a baseline.
    """
    baselines = rows["role"].isin(["codec", "control"])
    return baselines & (not baselines.all())


def is_ranked(rows: pd.DataFrame) -> pd.Series[bool]:
    """Mark the rows to rank: the eligible ones, codecs only among themselves."""
    return is_eligible(rows) & ~is_baseline(rows)


def best_two(
    values: pd.Series[Any], texts: Mapping[str, str], higher: bool
) -> tuple[set[str], set[str]]:
    """Name the best of two or more values and the second best of three or more.

    NaN and infinite values are not ranked. Values of equal texts are equally good.
    """
    count = values.notna().sum()
    finite = values[values.map(math.isfinite)].sort_values(ascending=not higher)
    by_text: dict[str, set[str]] = {}
    for name in finite.index if count > 1 else ():
        by_text.setdefault(texts[name], set()).add(name)
    best, second, *_ = [*by_text.values(), set[str](), set[str]()]
    return best, second if count > 2 else set()


def compare_with_best(
    rows: pd.DataFrame, metric: str, higher: bool
) -> dict[Any, tuple[float, float]]:
    """Return the difference from the best and its standard error, by row; NaN if not known.

    The error is that of the mean difference image by image, where the scores of single images are
    there; that of a pooled PSNR is of first order in the errors of the images. Otherwise it comes
    from both intervals, as if each row had images of its own: then a difference must be larger to
    count. The best and rows without a finite value are left out.
    """
    finite = rows[rows[metric].map(math.isfinite)]
    if finite.empty:
        return {}
    finite = finite.sort_values(metric, ascending=not higher)
    error = (finite[f"{metric}_high"] - finite[f"{metric}_low"]) / (2 * NORMAL_95)
    difference = finite[metric] - finite[metric].iloc[0]
    error = (error**2 + error.iloc[0] ** 2) ** 0.5
    best, *others = (_of_images(scores, metric) for scores in finite["scores"])
    for index, scores in zip(finite.index[1:], others, strict=True):
        if best is not None and scores is not None and best.index.equals(scores.index):
            with np.errstate(invalid="ignore"):  # infinity less infinity, which is left out
                each = scores.to_numpy() - best.to_numpy()
            each = each[np.isfinite(each)]
            if metric != POOLED:
                difference[index] = each.mean() if len(each) else math.nan
            error[index] = each.std(ddof=1) / len(each) ** 0.5 if len(each) > 1 else math.nan
    pairs = zip(difference.iloc[1:], error.iloc[1:], strict=True)
    return dict(zip(finite.index[1:], pairs, strict=True))


def _of_images(scores: Scores, metric: str) -> pd.Series[float] | None:
    """Return what each image adds to a score, None if that is not known.

    For a pooled PSNR that is its part of the error, as the first derivative has it in dB.
    """
    if metric != POOLED:
        return scores.get(metric)
    errors = squared_errors(scores)
    return None if errors is None else -DECIBELS * errors / errors.mean()


def is_tied(difference: Any, error: Any) -> Any:
    """Return True, for each of an array, if a difference is within twice its standard error."""
    return abs(difference) < 2 * error
