"""The metric of a whole set that follows from the errors of single images."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd

from ssdd_bench.report.frame import Scores

POOLED: Final = "psnr_pooled"
DECIBELS: Final = 10 / math.log(10)
"""Change of a PSNR in dB by a change of the error by its e-th part."""


def squared_errors(scores: Scores) -> pd.Series[float] | None:
    """Return the mean squared error of each image in [0, 1], which its PSNR holds too.

    None if neither is there.
    """
    if "mse" in scores:
        return scores["mse"]
    if "psnr" in scores:
        return 10 ** (-scores["psnr"] / 10)
    return None
