"""Figure of how the scores of single images spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ssdd_bench.report.figures.marks import panel_title, remark_of
from ssdd_bench.report.figures.style import Drawing, Palette, put_title, sheet
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import comparable_groups
from ssdd_bench.report.ranking import is_eligible
from ssdd_bench.report.tables.numbers import format_number, metric_name

_IMAGES_SHOWN: Final = 200  # above which a distribution is a box alone


def draw_distributions(
    frame: pd.DataFrame, metrics: Sequence[str], palette: Palette
) -> Drawing | None:
    """Draw a box of quartiles, 5% and 95% for each row, and every image.

    Returns:
        The drawing, or None if no two rows have scores of two or more images.
    """
    frame = frame[(frame["kind"] == "reconstruction") & is_eligible(frame)]
    panels = [
        (group.rows, metric, scores)
        for group in comparable_groups(frame)
        for metric in metrics
        if len(scores := _scores(group.rows, metric)) > 1
    ]
    if not panels:
        return None
    heights = [0.9 + 0.24 * len(scores) for _, _, scores in panels]
    name = "score-distributions"
    with sheet(name, [2] * len(panels), heights) as (figure, all_axes):
        drawing = Drawing(name, name, "Scores of single images", figure)
        for axes, (rows, metric, scores) in zip(all_axes, panels, strict=True):
            put_title(axes, panel_title(rows, rate=False))
            arrow = "↑" if metric_directions(frame)[metric] else "↓"
            axes.set_xlabel(f"{metric_name(metric)} {arrow}, per image")
            families = dict(zip(rows["label"], rows["id"], strict=True))
            for place, (label, values) in enumerate(scores.items()):
                gid = f"{axes.get_gid()}-{place}"
                _draw_box(axes, values, place, palette.color(families[label]), gid)
                quantiles = map(format_number, np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)))
                tip = f"{label}\n5%, quartiles and 95%:\n{', '.join(quantiles)}"
                for part in ("", "-range", "-images"):
                    drawing.parts[gid + part] = (families[label], "" if part else tip)
            axes.set_yticks(range(len(scores)), list(scores))
            axes.set_ylim(-0.6, len(scores) - 0.4)
            axes.grid(axis="y", visible=False)
        words = "Box: quartiles and median. Line: 5% to 95%. Ticks: images.\n"
        remarks = dict.fromkeys(remark_of(rows) for rows, _, _ in panels)
        text = words + "; ".join(remarks)
        text_gid = f"{name}-remark"
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color="0.35").set_gid(text_gid)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        drawing.locate_panels()
    return drawing


def _scores(rows: pd.DataFrame, metric: str) -> dict[str, pd.Series[float]]:
    """Collect the finite scores of single images by label, in the order of their medians."""
    found = {
        label: scores[metric][scores[metric].map(math.isfinite)]
        for label, scores in zip(rows["label"], rows["scores"], strict=True)
        if metric in scores
    }
    known = {label: one for label, one in found.items() if len(one) > 1}
    return dict(sorted(known.items(), key=lambda item: float(item[1].median())))


def _draw_box(axes: Axes, values: pd.Series[float], place: int, color: str, gid: str) -> None:
    """Draw one row: range, box, median and images, each a single element of the SVG."""
    low, first, median, third, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.plot([low, high], [place, place], color=color, linewidth=1.2, gid=f"{gid}-range")
    axes.barh(
        place,
        third - first,
        0.5,
        first,
        facecolor="white",
        edgecolor=color,
        linewidth=1.2,
        zorder=2,
    )[0].set_gid(gid)
    if len(values) > _IMAGES_SHOWN:
        values = values.iloc[:0]
    ticks = np.column_stack([values, values, np.full(len(values), np.nan)]).ravel()
    heights = np.tile([place - 0.14, place + 0.14, np.nan], len(values))
    median_line = [
        np.array([median, median, np.nan]),
        np.array([place - 0.25, place + 0.25, np.nan]),
    ]
    axes.plot(*median_line, color=color, linewidth=2.2, zorder=3, solid_capstyle="butt")
    axes.plot(ticks, heights, color="0.25", linewidth=0.7, alpha=0.5, zorder=4, gid=f"{gid}-images")
