"""Rank correlation over tokenizers between scores of reconstructions and of generated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np
import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import check_metric, metric_directions, to_frame
from ssdd_bench.report.groups import split
from ssdd_bench.results.schema import Result

LEAST: Final = 3  # tokenizers: two always agree or disagree entirely
_SETTING: Final = [
    *("network_family", "sampler", "sampling_steps", "guidance"),
    *("resolution", "n", "data"),
]
_WORDS: Final = (
    "{network_family}, {sampler} {sampling_steps}, cfg {guidance}, {resolution} px, "
    "{n} samples against {data}"
)


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation between two scores over tokenizers, all else equal.

    Attributes:
        reconstruction: key of the score of reconstructions.
        generation: key of the score of generated images.
        settings: shared by the generated rows: network (its patch aside), sampler, guidance,
            image size and reference.
        value: from -1 to 1; positive where a better reconstruction goes with a better generation.
        labels: the tokenizers, with both scores, means over seeds.
    """

    reconstruction: str
    generation: str
    settings: str
    value: float
    labels: tuple[tuple[str, float, float], ...]


def correlate(results: Sequence[Result], first: str, second: str) -> list[Correlation]:
    """Pair rows of reconstructions with rows of generation by tokenizer and resolution.

    Args:
        results: of both kinds.
        first: score of reconstructions.
        second: score of generated images.

    Returns:
        One for each setting of generation with at least three tokenizers.

    Raises:
        UserError: there is none, or no result has one of the scores.
    """
    frame = to_frame(results)
    check_metric(frame, first)
    check_metric(frame, second)
    better = metric_directions(frame)
    sign = 1.0 if better[first] == better[second] else -1.0
    family = frame["model"].str.partition("/")[0]  # smaller latents have smaller patches
    generated = frame["model"] != ""
    found = []
    for rows in split(frame.assign(network_family=family)[generated], _SETTING):
        setting = rows.iloc[0]
        same_size = frame["resolution"] == setting["resolution"]
        scores = _means(frame[~generated & same_size], first).to_frame("first")
        both = scores.join(_means(rows, second).rename("second"), how="inner")
        if len(both) >= LEAST:
            value = sign * float(both["first"].rank().corr(both["second"].rank()))
            labels = tuple(both.itertuples(name=None))
            found.append(Correlation(first, second, _WORDS.format_map(setting), value, labels))
    if not found:
        raise UserError(
            f"no setting has {LEAST} tokenizers with both {first} of reconstructions and {second} "
            "of generated images: measure more with `ssdd-bench run` and `ssdd-bench gen all`"
        )
    return found


def _means(rows: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """Average the finite scores of each tokenizer."""
    return rows[np.isfinite(rows[metric])].groupby("tokenizer")[metric].agg(fmean)
