"""Rank correlation over tokenizers between scores of reconstructions and of generated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np
import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import metric_directions, to_frame
from ssdd_bench.report.groups import split
from ssdd_bench.results.schema import Result

LEAST: Final = 3  # tokenizers: two always agree or disagree entirely
_SETTING: Final = [
    *("network_family", "sampler", "sampling_steps", "guidance"),
    *("resolution", "n", "data"),
]


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
        UserError: there is none.
    """
    frame = to_frame(results)
    better = metric_directions(frame)
    found = []
    if {first, second} <= better.keys():
        sign = 1.0 if better[first] == better[second] else -1.0
        family = frame["model"].str.partition("/")[0]  # smaller latents have smaller patches
        made = frame.assign(network_family=family)[frame["model"] != ""]
        for rows in split(made, _SETTING):
            setting = rows.iloc[0]
            same_size = frame["resolution"] == setting["resolution"]
            scores = _means(frame[(frame["model"] == "") & same_size], first)
            both = scores.to_frame("first").join(_means(rows, second).rename("second"), how="inner")
            if len(both) >= LEAST:
                value = float(both["first"].rank().corr(both["second"].rank()))
                labels = tuple(both.itertuples(name=None))
                found.append(Correlation(first, second, _words(setting), sign * value, labels))
    if not found:
        raise UserError(
            f"no setting has {LEAST} tokenizers with both {first} of reconstructions and {second} "
            "of generated images: measure more with `ssdd-bench run` and `ssdd-bench gen all`"
        )
    return found


def _means(rows: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """Average the finite scores of each tokenizer."""
    finite = rows[np.isfinite(rows[metric])]
    return finite.groupby("tokenizer")[metric].agg(fmean)


def _words(setting: pd.Series[Any]) -> str:
    return (
        f"{setting['network_family']}, {setting['sampler']} {setting['sampling_steps']}, "
        f"cfg {setting['guidance']}, {setting['resolution']} px, "
        f"{setting['n']} samples against {setting['data']}"
    )
