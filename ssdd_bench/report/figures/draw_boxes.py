"""Draw the scores of single images: boxes, lines and ticks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ssdd_bench.report.figures.canvas import Canvas
from ssdd_bench.report.figures.chart import Boxes, Distributions, Spread
from ssdd_bench.report.figures.draw_panels import put_title
from ssdd_bench.report.figures.palette import INK, Palette

_IMAGES_SHOWN: Final = 200  # above which a distribution is a box alone
_THICK: Final[dict[str, Any]] = {"linewidth": 2.2, "zorder": 3, "solid_capstyle": "butt"}
_THIN: Final[dict[str, Any]] = {"linewidth": 0.7, "zorder": 4, "alpha": 0.5}
_WORDS: Final = "Box: quartiles and median. Line: 5% to 95%. Ticks: images."


def draw_boxes(chart: Distributions, palette: Palette) -> Canvas:
    """Draw the panels of the chart, each with a row for each of its rows."""
    canvas = Canvas(chart, f"{chart.remark} {_WORDS}", chart.alt)
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
    axes.autoscale_view()
    axes.set_yticks(range(len(panel.rows)), [row.label for row in panel.rows])
    axes.set_ylim(-0.6, len(panel.rows) - 0.4)
    axes.grid(axis="y", visible=False)
    return parts


def _draw_box(axes: Axes, row: Spread, place: int, color: str, gid: str) -> None:
    """Draw one row: range, box, median and images, each a single element of the SVG."""
    low, first, median, third, high = row.quantiles
    bars = _bars(row.values if len(row.values) <= _IMAGES_SHOWN else [], place, 0.14)
    add = axes.add_line  # where plot would look at the limits of the axes every time
    add(Line2D([low, high], [place, place], color=color, linewidth=1.2, gid=f"{gid}-range"))
    box = Rectangle((first, place - 0.25), third - first, 0.5, zorder=2, gid=gid)
    axes.add_patch(box).set(facecolor="white", edgecolor=color, linewidth=1.2)
    add(Line2D(*_bars([median], place, 0.25), color=color, gid=f"{gid}-median", **_THICK))
    add(Line2D(*bars, color=INK, gid=f"{gid}-images", **_THIN))


def _bars(xs: Any, place: int, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Return one path of upright bars at ``xs``, with gaps."""
    places = np.column_stack([xs, xs, np.full(len(xs), np.nan)]).ravel()
    return places, np.tile([place - half, place + half, np.nan], len(xs))
