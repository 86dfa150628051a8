"""Columns of measured values: scores, their spread over seeds, speed and cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ssdd_bench.report.tables.model import MISSING
from ssdd_bench.report.tables.numbers import (
    format_metric,
    format_short,
    format_speed,
    metric_heading,
    metric_name,
)


@dataclass(frozen=True)
class Measure:
    """A column of the frame and its format.

    Attributes:
        key: a metric's key, or the heading.
        heading: above the column.
        show: writes a row's value; a dash where there is none.
        value: column of the frame that ranks the rows; "" for no ranks.
        higher_is_better: direction of the ranks.
        notes: column of the frame whose footnotes belong here; "" for none.
        is_score: a metric, which may tie; otherwise the value depends on the machine.
    """

    key: str
    heading: str
    show: Callable[[Any], str]
    value: str = ""
    higher_is_better: bool = True
    notes: str = ""
    is_score: bool = False


def scores(directions: Mapping[str, bool], n: int | None = None) -> Iterator[Measure]:
    """Yield a column per metric.

    Args:
        directions: whether more is better, by metric.
        n: number of images, shown in the headings of distances; None leaves it out.
    """
    for key, higher in directions.items():
        show = partial(_score, key)
        yield Measure(key, metric_heading(key, higher, n), show, key, higher, key, True)


def spreads(directions: Mapping[str, bool]) -> Iterator[Measure]:
    """Yield two columns per metric: the range over seeds and the 95% interval over images."""
    for key in directions:
        name = metric_name(key)
        yield Measure(key, f"{name}, seeds", partial(_range, key))
        yield Measure(f"{key} 95%", f"{name}, 95% of images", partial(_interval, key))


def speeds() -> Iterator[Measure]:
    """Yield columns of images/s, arithmetic and memory; these depend on the resolution."""
    for way in ("model", "encode", "decode"):
        heading = f"{way} img/s"
        notes = "decode_ips" if way == "decode" else ""
        yield Measure(
            heading, heading, partial(format_speed, direction=way), f"{way}_ips", True, notes
        )
    for way in ("model", "decode"):
        heading = f"{way} GMAC"
        yield Measure(heading, heading, partial(_short, f"gmac_{way}"))
    yield Measure("memory MB", "memory MB", _megabytes)


def _score(key: str, row: Any) -> str:
    return format_metric(key, row[key])


def _range(key: str, row: Any) -> str:
    return _ends(key, *row["spread"].get(key, (math.nan, math.nan)))


def _interval(key: str, row: Any) -> str:
    return _ends(key, row[f"{key}_low"], row[f"{key}_high"])


def _ends(key: str, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    return f"{format_metric(key, low)} to {format_metric(key, high)}"


def _short(column: str, row: Any) -> str:
    return format_short(row[column])


def _megabytes(row: Any) -> str:
    size = row["peak_memory_bytes"]
    return MISSING if pd.isna(size) else f"{size / 1e6:.0f}"
