"""Pooling of rows that differ in the seed alone: tables rank and show their means."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, Final

import pandas as pd

from ssdd_bench.report.frame import Scores, metric_directions
from ssdd_bench.report.groups import MACHINE, SAME_IMAGES

_SAME: Final = ["label", "identity", "resolution", *SAME_IMAGES, "data_sha256", *MACHINE, "batch"]


def pool_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace rows measured with several seeds by their means.

    Rows of other images, weights, settings or machines stay apart, and so do those that have
    other metrics or a seed twice.

    Returns:
        The frame with columns for seeds (tuple) and for the range of each metric over several
        seeds (METRIC_least, METRIC_greatest; else NaN). Metrics, ends of intervals, speeds and
        scores of single images are means, footnotes are merged, and the rest is the first row's.
    """
    if "seeds" in frame:
        return frame
    metrics = list(metric_directions(frame))
    means = [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]
    means += [
        f"{way}_ips{end}" for way in ("model", "encode", "decode") for end in ("", "_q1", "_q3")
    ]
    least, greatest = ([f"{key}_{end}" for key in metrics] for end in ("least", "greatest"))
    measured = frame[metrics].notna().apply(tuple, axis=1)
    pooled, dropped = frame.copy(), list[Any]()
    pooled[[*least, *greatest]] = math.nan
    columns = {key: dict(frame[key]) for key in ("scores", "footnotes")}
    columns["seeds"] = {index: (seed,) for index, seed in frame["seed"].items()}
    for _, rows in frame.groupby([*_SAME, measured], sort=False, dropna=False):
        own = tuple(rows["seed"])
        if len(own) < 2 or len(set(own)) < len(own):
            continue
        first, *others = rows.index
        dropped += others
        pooled.loc[first, means] = rows[means].mean(skipna=False)
        pooled.loc[first, least] = rows[metrics].min().to_numpy()
        pooled.loc[first, greatest] = rows[metrics].max().to_numpy()
        columns["seeds"][first] = own
        columns["scores"][first] = _mean_scores(list(rows["scores"]))
        columns["footnotes"][first] = tuple(dict.fromkeys(chain(*rows["footnotes"])))
    pooled = pooled.assign(**{key: pd.Series(values) for key, values in columns.items()})
    return pooled.drop(index=dropped)


def _mean_scores(found: list[Scores]) -> Scores:
    """Average image by image the metrics that every seed has for the same images."""
    return {
        metric: sum((scores[metric] for scores in found[1:]), first) / len(found)
        for metric, first in found[0].items()
        if all(metric in one and one[metric].index.equals(first.index) for one in found)
    }
