"""Panels of a chart, made from rows of the frame."""

from __future__ import annotations

import math
import textwrap
from typing import Any, Final

import pandas as pd

from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.report.figures.chart import Mark, Panel
from ssdd_bench.report.figures.front import COSTS, judge_quality, pareto_front
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import describe_hardware
from ssdd_bench.report.tables.columns import (
    NEGLIGIBLE,
    format_metric,
    format_short,
    metric_name,
    metric_unit,
)

RATE_MARKERS: Final = {4: "^", 8: "o", 16: "s", 32: "D", 64: "v"}  # by compression rate f
READING: Final = "Outlined: on the Pareto front, within noise."
_LONGEST: Final = 30  # letters of a name
_X_LABELS: Final = {
    "decode_ips": "decode images/s (log)",
    "floats_per_pixel": "floats per pixel (log)",
    "bits_per_pixel": "bits per pixel (log)",
    "steps": "decoder steps",
    "resolution": "resolution, px",
}


def make_panel(
    rows: pd.DataFrame,
    x: str,
    y: str,
    labels: pd.Series[str],
    lines: pd.Series[str],
    title: str = "",
) -> Panel:
    """Make a mark of each row: x is a column of ``_X_LABELS``, y a metric or a speed.

    Over the decode speed or the compression rate, marks have error bars, and those on the front
    are told.
    """
    timed, speed, corner = "_ips" in x + y, y.endswith("_ips"), x in ("decode_ips", *COSTS)
    higher = speed or metric_directions(rows)[y]
    metrics = [key for key in metric_directions(rows) if rows[key].notna().any()]
    quality = judge_quality(rows, y) if corner else None
    ends = quality.ends() if quality else [None] * len(rows)
    front = pareto_front(rows, quality, x) if quality else [False] * len(rows)
    shown = {x, y, "id", "f", "label", "resolution", "encode_ips", "decode_ips", *metrics}
    spans = {f"{column}_{end}" for column in shown for end in ("low", "high", "q1", "q3")}
    known = rows[[column for column in rows.columns if column in shown | spans]]
    marks = tuple(
        Mark(
            x=float(row[x]),
            y=0.0 if abs(row[y]) < NEGLIGIBLE else float(row[y]),
            family=row["id"],
            marker=RATE_MARKERS.get(0 if pd.isna(row["f"]) else int(row["f"]), "p"),
            label=shorten_name(label),
            tip=_describe(row, metrics),
            line=line,
            x_range=_range(row, x) if x == "decode_ips" else None,
            y_range=span,
            front=bool(on_front),
        )
        for row, label, line, span, on_front in zip(
            known.to_dict("records"), labels, lines, ends, front, strict=True
        )
    )
    kinds = [quality.kind if quality else "", "quartiles of the speed" if timed else ""]
    bars = "; ".join(filter(None, kinds))
    read = (READING + (f" Bars: {bars}." if bars else "")) if corner else ""
    return Panel(
        marks,
        title or panel_title(rows),
        conditions_of(rows, timed),
        _X_LABELS[x],
        "images/s" if speed else metric_label(y, higher),
        higher,
        read,
        corner=corner,
        less_x=x in COSTS,
        ticks=x in ("steps", "resolution"),
        ends=x == "resolution",
        log_y=speed,
    )


def shorten_name(name: str) -> str:
    """Leave out the middle of a name that is too long for a figure; hovering tells all of it."""
    if len(name) <= _LONGEST:
        return name
    end = _LONGEST // 2  # where names of one family differ
    return f"{name[: _LONGEST - end - 1]}…{name[-end:]}"


def panel_title(rows: pd.DataFrame, *, rate: bool = True) -> str:
    """Name a panel by what all its rows share: resolution and compression rate."""
    first = rows.iloc[0]
    size = ""
    if rate and not pd.isna(first["f"]) and not pd.isna(first["tokens"]):
        f = first["f"]
        size = f", f{f}" if f > 1 else "" if f else ", tokens in a row"
    return f"{first['resolution']} px{size}"


def guidance_title(rows: pd.DataFrame) -> str:
    """Name the guidance that all rows share; "" where nothing was generated."""
    guidance = rows.iloc[0]["guidance"]
    return {"": "", "1": ", unguided"}.get(guidance, f", cfg {guidance}")


def conditions_of(rows: pd.DataFrame, timed: bool = False) -> tuple[str, ...]:
    """Name the images and the protocol, and the machine if speeds are shown."""
    first = rows.iloc[0]
    images = "images" if first["kind"] == "reconstruction" else "generated images"
    lines = [f"{first['n']} {images} ({first['data']}), protocol {first['protocol']}"]
    if timed:
        batches = ", ".join(str(batch) for batch in sorted(set(rows["batch"].dropna())))
        lines.append(f"{describe_hardware(rows)[0]}, batch {batches}")
    return tuple(lines)


def metric_label(key: str, higher: bool) -> str:
    """Name a metric as papers do, or by its title where they have no name for it."""
    info = METRICS.all().get(key)
    if info and not info.name:
        name = textwrap.fill(info.title.partition(",")[0], 30)  # with the unit
    else:
        unit = metric_unit(key)
        name = f"{metric_name(key)} ({unit})" if unit else metric_name(key)
    return f"{name} {'↑' if higher else '↓'}"


def _describe(row: Any, metrics: list[str]) -> str:
    """Write the hover text of a row: label, scores and speeds."""
    lines = [f"{row['label']}, {row['resolution']} px"]
    for key in metrics:
        if not pd.isna(row[key]):
            ends = [format_metric(key, end) for end in _range(row, key) or ()]
            span = f" ({' to '.join(ends)})" if ends else ""
            lines.append(f"{metric_name(key)} {format_metric(key, row[key])}{span}")
    for way in ("encode", "decode"):
        if row[f"{way}_ips"] > 0:
            lines.append(f"{way} {format_short(row[f'{way}_ips'])} images/s")
    return "\n".join(lines)


def _range(row: Any, column: str) -> tuple[float, float] | None:
    """Return the quartiles of a speed or the 95% interval of a score, if known."""
    low, high = ("_q1", "_q3") if column.endswith("_ips") else ("_low", "_high")
    ends = float(row.get(column + low, math.nan)), float(row.get(column + high, math.nan))
    return ends if all(map(math.isfinite, ends)) else None
