"""Figures: quality against speed as measured, and, apart from it, as published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ssdd_bench.errors import UserError
from ssdd_bench.report.canvas import (
    GREY,
    MARKERS,
    canvas,
    cycle,
    finish,
    put_title,
    scale_x,
    scale_y,
    styles_of,
)
from ssdd_bench.report.frame import check_metric, metric_directions
from ssdd_bench.report.groups import Group, comparable_groups, describe_hardware, row_names, split
from ssdd_bench.report.labels import Point
from ssdd_bench.report.published import PublishedRow
from ssdd_bench.report.ranking import is_baseline, is_eligible
from ssdd_bench.report.seeds import pool_seeds
from ssdd_bench.report.tables.numbers import NEGLIGIBLE, format_number, metric_heading


def quality_speed_plot(frame: pd.DataFrame, metric: str, *paths: Path) -> None:
    """Draw the paper's figure from our measurements: quality against decode images/s.

    One panel per group of comparable rows and machine; one colour and marker per tokenizer, its
    variants joined by a thin line; the front of tokenizers that no other beats in both.

    Args:
        frame: from :func:`ssdd_bench.report.frame.to_frame`.
        metric: a metric column.
        paths: of kind .png, .svg or .pdf.

    Raises:
        UserError: the metric is unknown, or no row has both it and a timing.
        OutputError: the file cannot be written.
    """
    check_metric(frame, metric)
    frame = pool_seeds(frame)
    panels = list(speed_panels(frame, metric))
    if not panels:
        raise UserError(
            f"no row has both {metric} and a decode timing: run again with timing switched on"
        )
    styles = styles_of(list(dict.fromkeys(frame["id"])))
    with canvas(len(panels)) as (figure, axes):
        figure.suptitle("Reconstruction quality and decode speed", fontsize=12, x=0.01, ha="left")
        drawn = [
            draw_panel(panel_axes, group, metric, metric_directions(frame)[metric], styles)
            for panel_axes, group in zip(axes, panels, strict=True)
        ]
        finish(figure, zip(axes, drawn, strict=True), *paths)


def published_plot(rows: Sequence[PublishedRow], *paths: Path) -> None:
    """Draw the points of the paper's figure in grey, never on axes with measured speed.

    Args:
        rows: those without rFID or speed are left out.
        paths: of kind .png, .svg or .pdf.

    Raises:
        UserError: no row has both rFID and speed.
        OutputError: the file cannot be written.
    """
    rows = [row for row in rows if "rfid" in row.metrics and row.images_per_s is not None]
    if not rows:
        raise UserError("no published row has both rFID and images/s: nothing to draw")
    how = "digitised from the figure" if any(row.digitised for row in rows) else "as printed"
    hardware = ", ".join(sorted({row.hardware for row in rows}))
    sizes = ", ".join(sorted({f"{row.resolution} px" for row in rows}))
    sources = "; ".join(sorted({row.source for row in rows}))
    with canvas(1, width=6.6, height=4.6) as (figure, (axes,)):
        figure.suptitle(
            f"Published, not measured here: {how}, hardware {hardware}",
            fontsize=11,
            x=0.01,
            ha="left",
        )
        put_title(axes, f"ImageNet-1k val, {sizes}", f"Source: {sources}", width=100)
        points = [
            Point(float(row.images_per_s or 0), row.metrics["rfid"], row.model, "0.25")
            for row in rows
        ]
        families = list(dict.fromkeys(_family(row) for row in rows))
        for family, marker in zip(families, cycle(MARKERS), strict=False):
            mine = [p for p, row in zip(points, rows, strict=True) if _family(row) == family]
            mine.sort(key=lambda point: point.x)
            axes.plot(
                [p.x for p in mine],
                [p.y for p in mine],
                marker=marker,
                color=GREY,
                linewidth=0.8 if len(mine) > 1 else 0,
                markersize=6,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
        _label_axes(axes, "rFID ↓", "decode images/s (log)")
        scale_x(axes, [p.x for p in points])
        scale_y(axes, [p.y for p in points])
        finish(figure, [(axes, points)], *paths)


def pareto_front(
    speeds: Sequence[float], scores: Sequence[float], higher_is_better: bool
) -> list[int]:
    """Indices of the points that none beats in one respect and equals in the other, by speed."""
    sign = 1.0 if higher_is_better else -1.0
    front: list[int] = []
    best = -math.inf
    for index in sorted(range(len(speeds)), key=lambda i: (-speeds[i], -sign * scores[i])):
        if sign * scores[index] > best:
            best = sign * scores[index]
            front.append(index)
    return front[::-1]


def speed_panels(frame: pd.DataFrame, metric: str) -> Iterator[Group]:
    """Yield groups of rows with a score and a timing, split where the machine differs.

    Yardsticks are left out: they would push what is compared into a corner. Figures of quality
    against compression have them.
    """
    for group in comparable_groups(frame):
        rows = group.rows
        rows = rows[rows[metric].notna() & (rows["decode_ips"] > 0)]
        rows = rows[~is_baseline(rows)]
        for machine in split(rows, ["device", "threads", "dtype"]):
            yield replace(group, rows=machine)


def draw_panel(
    axes: Axes, group: Group, metric: str, higher: bool, styles: dict[str, dict[str, Any]]
) -> list[Point]:
    """Draw markers, joining lines, front and titles; returns the labels still to be placed."""
    rows = group.rows
    speeds = list(rows["decode_ips"])
    scores = [0.0 if abs(score) < NEGLIGIBLE else float(score) for score in rows[metric]]
    scale_x(axes, speeds)
    pinned = scale_y(axes, scores, distance=not higher)
    heights = [pinned.get(score, score) for score in scores]
    for name, style in styles.items():
        mine = sorted(
            (x, y) for x, y, owner in zip(speeds, heights, rows["id"], strict=True) if owner == name
        )
        if mine:
            axes.plot(*zip(*mine, strict=True), **style)
    racing = [i for i, may in enumerate(is_eligible(rows)) if may]
    front = [racing[i] for i in pareto_front(*_pick(speeds, scores, racing), higher)]
    if len(front) > 1:
        axes.plot(
            [speeds[i] for i in front],
            [heights[i] for i in front],
            color="0.35",
            linestyle=(0, (4, 2)),
            linewidth=1.0,
            zorder=1.5,
            label="Pareto front",
        )
        axes.legend(loc="best", frameon=False, fontsize=8)
    heading = metric_heading(metric, higher, group.n)
    scale = " (log)" if axes.get_yscale() == "log" else ""
    _label_axes(axes, heading + scale, "decode images/s (log)")
    batches = ", ".join(str(batch) for batch in sorted(set(rows["batch"].dropna())))
    put_title(
        axes,
        f"{group.resolution} × {group.resolution} px",
        f"n = {group.n} ({group.data}), protocol {group.protocol}",
        f"{describe_hardware(rows)[0]}, batch {batches}",
    )
    return [
        Point(x, y, f"{name} ({format_number(score)})" if score in pinned else name)
        for x, y, score, name in zip(speeds, heights, scores, row_names(rows), strict=True)
    ]


def _pick(
    speeds: Sequence[float], scores: Sequence[float], indices: Sequence[int]
) -> tuple[list[float], list[float]]:
    return [speeds[i] for i in indices], [scores[i] for i in indices]


def _label_axes(axes: Axes, quality: str, speed: str) -> None:
    axes.set_ylabel(quality)
    axes.set_xlabel(speed)


def _family(row: PublishedRow) -> str:
    """Rows of one model in several sizes, as their names say: 'SSDD-S' and 'SSDD-M'."""
    steps = ", 1 step" if row.steps == 1 and "1 step" in row.model else ""
    return row.model.removesuffix(", 1 step").rstrip("SBMLHX").rstrip(" -") + steps
