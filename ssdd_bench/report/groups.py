"""Groups of rows that may be compared, their names and machines, and the pooling of seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pandas as pd

from ssdd_bench.errors import counted
from ssdd_bench.report.frame import Scores, metric_directions

SAME_IMAGES: Final = ["protocol", "data", "n"]  # at any resolution
MACHINE: Final = ["device", "threads", "dtype", "compile"]
_BUT_SEED: Final = ["label", "identity", "resolution", *SAME_IMAGES, "data_sha256", *MACHINE]

_COMPILED: Final = {
    "off": "",
    "default": ", compiled",
    "max-autotune": ", compiled with max-autotune",
}


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: same images, same crops, same protocol, same resolution."""

    resolution: int
    protocol: str
    data: str
    n: int
    rows: pd.DataFrame

    @property
    def size(self) -> str:
        """Size of the images."""
        return f"{self.resolution} × {self.resolution} px"

    @property
    def title(self) -> str:
        """Size, protocol and set of images."""
        return f"{self.size}, {self.protocol}, {self.data}"


def comparable_groups(frame: pd.DataFrame) -> Iterator[Group]:
    """Split a frame into the groups whose numbers may stand in one table or one panel."""
    for rows in split(frame, ["resolution", *SAME_IMAGES, "data_sha256"]):
        first = rows.iloc[0]
        yield Group(
            int(first["resolution"]), first["protocol"], first["data"], int(first["n"]), rows
        )


def split(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows that share the values of ``keys``, in order of first appearance."""
    numbers = frame.groupby(list(keys), sort=False, dropna=False).ngroup()
    for number in dict.fromkeys(numbers):  # pandas 2 has those without a value first
        yield frame[numbers == number]


def row_names(rows: pd.DataFrame, with_steps: bool = True) -> pd.Series[str]:
    """Name rows by label, and by seed, machine or fingerprint where one label repeats.

    The names are unique among rows of one resolution and set of images.

    Args:
        rows: of a frame.
        with_steps: add the decoder steps to a label that leaves them out, as the default, where
            another row has the same network with other steps.
    """
    names = _add_steps(rows) if with_steps else rows["label"]
    if not rows.duplicated(["resolution", "data_sha256", "label"]).any():
        return names
    keys = ["resolution", "data_sha256", "name"]
    named = rows.assign(name=names)
    for column, form in (("seed", " (seed {})"), ("device", " ({})"), ("fingerprint", " ({:.6})")):
        repeated = named["name"].isin(named.loc[named.duplicated(keys), "name"])
        differ = named.groupby("name")[column].transform("nunique") > 1
        named["name"] += named[column].map(form.format).where(repeated & differ, "")
    counts = named.groupby(keys).cumcount()
    return named["name"].where(counts == 0, named["name"] + " #" + (counts + 1).astype(str))


def _add_steps(rows: pd.DataFrame) -> pd.Series[str]:
    """Tell "diffusion (8 steps)" from "diffusion:steps=1"."""
    several = rows.groupby(["resolution", "data_sha256", "network"])["steps"].transform("nunique")
    unsaid = (several > 1) & rows["steps"].notna() & (rows["label"] == rows["network"])
    words = [
        f" ({counted(steps, 'step')})" if add else ""
        for add, steps in zip(unsaid, rows["steps"], strict=True)
    ]
    return rows["label"] + words


def describe_hardware(rows: pd.DataFrame) -> list[str]:
    """List the distinct machine settings that the speeds of these rows were measured on."""
    timed = rows.loc[rows["decode_ips"].notna(), MACHINE]
    return list(map(describe_machine, timed.drop_duplicates().to_dict("records")))


def describe_machine(row: Any) -> str:
    """Describe the machine settings of one row; "" where nothing was timed."""
    if not row["device"]:
        return ""
    threads = counted(row["threads"], "thread")
    return f"{row['device']}, {threads}, {row['dtype']}{_COMPILED[row['compile']]}"


def pool_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace rows measured with several seeds by their means.

    Rows of other images, weights, settings or machines stay apart, and so do those that have
    other metrics or a seed twice.

    Returns:
        The frame with columns for seeds and fingerprints (tuples), and for the range of each metric
        over several seeds (METRIC_least, METRIC_greatest; else NaN). Metrics, ends of intervals,
        speeds and scores of single images are means, footnotes are merged, and the rest is the
        first row's.
    """
    if "seeds" in frame:
        return frame
    metrics = list(metric_directions(frame))
    means = [*metrics, *frame.filter(regex="_(low|high|ips|q1|q3|ms|ratio)$").columns]
    least, greatest = ([f"{key}_{end}" for key in metrics] for end in ("least", "greatest"))
    measured = pd.Series([*map(tuple, frame[metrics].notna().to_numpy())], frame.index)
    pooled, dropped, firsts = frame.copy(), list[Any](), list[Any]()
    pooled[[*least, *greatest]] = math.nan
    numbers = frame[means].to_numpy(float)
    found: dict[str, list[Any]] = {"mean": [], "min": [], "max": []}
    columns = {key: dict(frame[key]) for key in ("scores", "footnotes")}
    for key, several in (("seed", "seeds"), ("fingerprint", "fingerprints")):
        columns[several] = {index: (one,) for index, one in frame[key].items()}
    groups = frame.groupby([*_BUT_SEED, measured], sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(groups, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        rows = list(frame.index[places])
        own = _join(columns["seeds"], rows)
        if len(own) < 2 or len(set(own)) < len(own):
            continue
        first, *others = rows
        dropped += others
        firsts.append(first)
        mine = numbers[places]
        found["mean"].append(mine.mean(axis=0))
        found["min"].append(mine[:, : len(metrics)].min(axis=0))
        found["max"].append(mine[:, : len(metrics)].max(axis=0))
        columns["seeds"][first] = own
        columns["fingerprints"][first] = _join(columns["fingerprints"], rows)
        columns["scores"][first] = _mean_scores([columns["scores"][row] for row in rows])
        columns["footnotes"][first] = tuple(dict.fromkeys(_join(columns["footnotes"], rows)))
    for names, which in ((means, "mean"), (least, "min"), (greatest, "max")):
        if firsts:
            pooled.loc[firsts, names] = np.array(found[which])
    pooled = pooled.assign(**{key: pd.Series(values) for key, values in columns.items()})
    return pooled.drop(index=dropped)


def _join(column: Mapping[Any, Iterable[Any]], rows: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(column[row] for row in rows))


def _mean_scores(found: list[Scores]) -> Scores:
    """Average image by image the metrics that every seed has for the same images."""
    return {
        metric: pd.Series(
            sum((scores[metric].to_numpy() for scores in found[1:]), first.to_numpy()) / len(found),
            first.index,
            name=metric,
        )
        for metric, first in found[0].items()
        if all(metric in one and one[metric].index.equals(first.index) for one in found)
    }
