"""Pooling of rows that differ in the seed alone: tables rank and show their means."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

import pandas as pd

from ssdd_bench.report.frame import Scores, metric_directions

_SAME: Final = [
    *("label", "identity", "resolution", "protocol", "data", "n", "data_sha256"),
    *("device", "threads", "dtype", "batch"),
]


def pool_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace rows measured with several seeds by their means.

    Rows of other images, weights, settings or machines stay apart, and so do those that have
    other metrics or a seed twice.

    Args:
        frame: of :func:`ssdd_bench.report.frame.to_frame`.

    Returns:
        The frame with two more columns: seeds (tuple) and spread (by metric: least and greatest
        over the seeds; empty for one seed). Metrics, ends of intervals, speeds and scores of
        single images are means, footnotes are merged, and the rest is the first row's.
    """
    if "seeds" in frame:
        return frame
    metrics = list(metric_directions(frame))
    means = [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]
    means += [
        f"{way}_ips{end}" for way in ("model", "encode", "decode") for end in ("", "_q1", "_q3")
    ]
    measured = frame[metrics].notna().apply(tuple, axis=1)
    pooled, dropped = frame.copy(), list[Any]()
    seeds: dict[Any, tuple[int, ...]] = {index: (seed,) for index, seed in frame["seed"].items()}
    spread: dict[Any, dict[str, tuple[float, float]]] = {index: {} for index in frame.index}
    scores, footnotes = dict(frame["scores"].items()), dict(frame["footnotes"].items())
    for _, rows in frame.groupby([*_SAME, measured], sort=False, dropna=False):
        own = tuple(rows["seed"])
        if len(own) < 2 or len(set(own)) < len(own):
            continue
        first = rows.index[0]
        dropped += list(rows.index[1:])
        pooled.loc[first, means] = rows[means].mean(skipna=False)
        seeds[first] = own
        known = [metric for metric in metrics if rows[metric].notna().all()]
        spread[first] = {key: (float(rows[key].min()), float(rows[key].max())) for key in known}
        scores[first] = _mean_scores(list(rows["scores"]))
        footnotes[first] = tuple(dict.fromkeys(chain(*rows["footnotes"])))
    columns = {"seeds": seeds, "spread": spread, "scores": scores, "footnotes": footnotes}
    pooled = pooled.assign(**{key: pd.Series(values) for key, values in columns.items()})
    return pooled.drop(index=dropped)


def _mean_scores(found: list[Scores]) -> Scores:
    """Average image by image the metrics that every seed has for the same images."""
    return {
        metric: sum((scores[metric] for scores in found[1:]), first) / len(found)
        for metric, first in found[0].items()
        if all(metric in one and one[metric].index.equals(first.index) for one in found)
    }
