"""Draw the scores of single images: boxes, lines and ticks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from ssdd_bench.report.figures.canvas import Canvas
from ssdd_bench.report.figures.chart import Boxes, Distributions, Spread
from ssdd_bench.report.figures.draw_panels import put_title
from ssdd_bench.report.figures.palette import Palette

_IMAGES_SHOWN: Final = 200  # above which a distribution is a box alone
_WORDS: Final = "Box: quartiles and median. Line: 5% to 95%. Ticks: images."


def draw_boxes(chart: Distributions, palette: Palette) -> Canvas:
    """Draw the panels of the chart, each with a row for each of its rows."""
    caption = f"{chart.remark} {_WORDS}"
    canvas = Canvas(chart.name, chart.title, chart.metric, caption, chart.alt)
    with canvas.lay_out([0.9 + 0.24 * len(panel.rows) for panel in chart.panels]) as all_axes:
        for axes, panel in zip(all_axes, chart.panels, strict=True):
            canvas.parts |= _draw_panel(axes, panel, palette)
        canvas.finish_layout(f"{_WORDS}\n{chart.remark}")
    return canvas


def _draw_panel(axes: Axes, panel: Boxes, palette: Palette) -> dict[str, tuple[str, str]]:
    """Draw one panel; return family and hover text by id of an SVG element."""
    parts: dict[str, tuple[str, str]] = {}
    put_title(axes, panel.title)
    axes.set_xlabel(panel.x_label)
    for place, row in enumerate(panel.rows):
        gid = f"{axes.get_gid()}-{place}"
        _draw_box(axes, row, place, palette.color(row.family), gid)
        for part in ("", "-range", "-median", "-images"):
            parts[gid + part] = (row.family, "" if part else row.tip)
    axes.set_yticks(range(len(panel.rows)), [row.label for row in panel.rows])
    axes.set_ylim(-0.6, len(panel.rows) - 0.4)
    axes.grid(axis="y", visible=False)
    return parts


def _draw_box(axes: Axes, row: Spread, place: int, color: str, gid: str) -> None:
    """Draw one row: range, box, median and images, each a single element of the SVG."""
    low, first, median, third, high = row.quantiles
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
    (line,) = axes.plot(*_bars([median], place, 0.25), color, linewidth=2.2, zorder=3)
    line.set(solid_capstyle="butt", gid=f"{gid}-median")
    bars = _bars(row.values if len(row.values) <= _IMAGES_SHOWN else [], place, 0.14)
    axes.plot(*bars, "0.25", linewidth=0.7, alpha=0.5, zorder=4, gid=f"{gid}-images")


def _bars(xs: Any, place: int, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Return one path of upright bars at ``xs``, with gaps."""
    places = np.column_stack([xs, xs, np.full(len(xs), np.nan)]).ravel()
    return places, np.tile([place - half, place + half, np.nan], len(xs))
