"""Figure of how the scores of single images spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ssdd_bench.report.figures.draw import put_title
from ssdd_bench.report.figures.panel import panel_title, remark_of
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import comparable_groups
from ssdd_bench.report.ranking import is_eligible
from ssdd_bench.report.tables.columns import format_number, metric_heading, metric_name

_IMAGES_SHOWN: Final = 200  # above which a distribution is a box alone
_ROWS: Final = 16  # of a panel; more are thinned out evenly, the ends stay
_PANELS: Final = 4
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


def draw_distributions(
    frame: pd.DataFrame, metrics: Sequence[str], palette: Palette
) -> Drawing | None:
    """Draw boxes of the scores of single images; None if no two rows have two or more of them.

    The first four panels are drawn, of at most 16 rows from the best to the worst.
    """
    frame = frame[(frame["kind"] == "reconstruction") & is_eligible(frame)]
    panels = [
        (group.rows, metric, scores)
        for group in comparable_groups(frame)
        for metric in metrics
        if len(scores := _scores(group.rows, metric)) > 1
    ][:_PANELS]
    if not panels:
        return None
    drawing = Drawing("score-distributions", "Scores of single images")
    heights = [0.9 + 0.24 * len(scores) for _, _, scores in panels]
    with drawing.lay_out(heights) as all_axes:
        for axes, (rows, metric, scores) in zip(all_axes, panels, strict=True):
            put_title(axes, panel_title(rows, rate=False))
            heading = metric_heading(metric, metric_directions(frame)[metric])
            axes.set_xlabel(f"{heading}, per image")
            families = dict(zip(rows["label"], rows["id"], strict=True))
            for place, (label, values) in enumerate(scores.items()):
                gid = f"{axes.get_gid()}-{place}"
                _draw_box(axes, values, place, palette.color(families[label]), gid)
                quantiles = ", ".join(map(format_number, np.quantile(values, _QUANTILES)))
                tip = f"{label}\n5%, quartiles and 95%:\n{quantiles}"
                for part in ("", "-range", "-median", "-images"):
                    drawing.parts[gid + part] = (families[label], "" if part else tip)
            axes.set_yticks(range(len(scores)), list(scores))
            axes.set_ylim(-0.6, len(scores) - 0.4)
            axes.grid(axis="y", visible=False)
        remarks = "; ".join(dict.fromkeys(remark_of(rows) for rows, _, _ in panels))
        words = "Box: quartiles and median. Line: 5% to 95%. Ticks: images."
        drawing.caption = f"{remarks} {words}"
        drawing.alt = f"{drawing.title}: {_describe(panels)}"
        drawing.finish_layout(f"{words}\n{remarks}")
    return drawing


def _describe(panels: Sequence[tuple[pd.DataFrame, str, dict[str, pd.Series[float]]]]) -> str:
    """Write the highest and the lowest median of each panel."""
    texts = []
    for rows, metric, scores in panels:
        (low, first), *_, (high, last) = scores.items()
        texts.append(
            f"{panel_title(rows, rate=False)}, {metric_name(metric)}: medians from "
            f"{format_number(first.median())} ({low}) to {format_number(last.median())} ({high})."
        )
    return " ".join(texts)


def _scores(rows: pd.DataFrame, metric: str) -> dict[str, pd.Series[float]]:
    """Collect the finite scores of single images by label, in the order of their medians."""
    found = {
        label: scores[metric][scores[metric].map(math.isfinite)]
        for label, scores in zip(rows["label"], rows["scores"], strict=True)
        if metric in scores
    }
    known = {label: one for label, one in found.items() if len(one) > 1}
    ordered = sorted(known.items(), key=lambda item: float(item[1].median()))
    places = np.linspace(0, len(ordered) - 1, min(_ROWS, len(ordered))).round().astype(int)
    return dict(ordered[place] for place in places)


def _draw_box(axes: Axes, values: pd.Series[float], place: int, color: str, gid: str) -> None:
    """Draw one row: range, box, median and images, each a single element of the SVG."""
    low, first, median, third, high = np.quantile(values, _QUANTILES)
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
    (line,) = axes.plot(*_bars([median], place, 0.25), color, linewidth=2.2, zorder=3)
    line.set(solid_capstyle="butt", gid=f"{gid}-median")
    bars = _bars(values, place, 0.14)
    axes.plot(*bars, "0.25", linewidth=0.7, alpha=0.5, zorder=4, gid=f"{gid}-images")


def _bars(xs: Any, place: int, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Return one path of upright bars at ``xs``, with gaps."""
    places = np.column_stack([xs, xs, np.full(len(xs), np.nan)]).ravel()
    return places, np.tile([place - half, place + half, np.nan], len(xs))
