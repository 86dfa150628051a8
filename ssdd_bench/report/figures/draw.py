"""Draw panels: marks, lines, the Pareto front and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from matplotlib.axes import Axes

from ssdd_bench.report.figures.labels import place_labels
from ssdd_bench.report.figures.panel import Mark, Panel
from ssdd_bench.report.figures.style import (
    GREY,
    Drawing,
    Palette,
    put_title,
    scale_x,
    scale_y,
    sheet,
)
from ssdd_bench.report.tables.numbers import format_number

_HEIGHT: Final = 3.1  # inches
_FEW: Final = 3  # marks, up to which a panel is narrow


def draw_panels(
    name: str, title: str, panels: Sequence[Panel], palette: Palette, key: str = ""
) -> Drawing:
    """Draw a figure of one or more panels.

    Args:
        name: stem of its files.
        title: caption on the page.
        panels: from the left, in rows.
        palette: colours of the report.
        key: name in ids, where a report has several figures of one name.
    """
    key = key or name
    weights = [1 if len(panel.marks) <= _FEW and not panel.ends else 2 for panel in panels]
    with sheet(key, weights, [_HEIGHT] * len(panels)) as (figure, all_axes):
        drawing = Drawing(name, key, title, figure)
        remarks = list(dict.fromkeys(panel.remark for panel in panels))
        for index, (axes, panel) in enumerate(zip(all_axes, panels, strict=True)):
            same = index > 0 and panel.y_label == panels[index - 1].y_label
            shown = replace(panel, y_label="" if same else panel.y_label)
            draw_axes(axes, shown, remark=panel.remark if len(remarks) > 1 else "")
        if len(remarks) == 1:
            text = figure.supxlabel(remarks[0], x=0.01, ha="left", fontsize=7.5, color="0.35")
            text.set_gid(f"{key}-remark")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels are placed for the axes as they are now
        for axes, panel in zip(all_axes, panels, strict=True):
            drawing.parts |= draw_marks(axes, panel, palette, str(axes.get_gid()))
        drawing.locate_panels()
    return drawing


def draw_axes(axes: Axes, panel: Panel, remark: str = "") -> None:
    """Write titles and labels, which the place of the axes depends on."""
    put_title(axes, panel.title, room=10 if remark else 0)
    if remark:
        axes.annotate(
            remark.replace("\n", ", "),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=7,
            color="0.35",
        )
    scale_x(axes, [mark.x for mark in panel.marks], ticks=panel.ticks, ends=panel.ends)
    _scale_y(axes, panel)
    log = " (log)" if axes.get_yscale() == "log" and panel.y_label else ""
    axes.set_ylabel(panel.y_label + log)
    axes.set_xlabel(panel.x_label)


def draw_marks(
    axes: Axes, panel: Panel, palette: Palette, prefix: str
) -> dict[str, tuple[str, str]]:
    """Draw everything inside the axes, whose place in the figure must be final.

    Args:
        axes: prepared by :func:`draw_axes`.
        panel: what to draw.
        palette: colours.
        prefix: of the ids of SVG elements.

    Returns:
        Family and hover text by id.
    """
    pinned = _scale_y(axes, panel)
    marks = [
        replace(
            mark,
            y=pinned[mark.y],
            label=f"{mark.label} ({format_number(mark.y)})" if mark.label else "",
        )
        if mark.y in pinned
        else mark
        for mark in panel.marks
    ]
    parts: dict[str, tuple[str, str]] = {}

    def add(family: str, tip: str = "") -> str:
        gid = f"{prefix}-{len(parts)}"
        parts[gid] = (family, tip)
        return gid

    if panel.front:
        _draw_front(axes, marks, panel.higher)
    for line in dict.fromkeys(mark.line for mark in marks if mark.line):
        mine = sorted((mark for mark in marks if mark.line == line), key=lambda mark: mark.x)
        if len(mine) > 1:
            color, gid = palette.color(mine[0].family), add(mine[0].family)
            places = [mark.x for mark in mine], [mark.y for mark in mine]
            axes.plot(*places, color=color, linewidth=1.4, alpha=0.7, gid=gid)
    for mark in marks:
        color = palette.color(mark.family)
        for xs, ys in (
            (mark.x_range, (mark.y, mark.y)),
            ((mark.x, mark.x), mark.y_range),
        ):
            if xs and ys:
                axes.plot(xs, ys, color=color, linewidth=1.0, gid=add(mark.family))
        style = palette.marker(mark.family, mark.marker)
        axes.plot([mark.x], [mark.y], **style, zorder=3, gid=add(mark.family, mark.tip))
    labelled = [mark for mark in marks if mark.label]
    for mark, artists in zip(labelled, place_labels(axes, marks, ends=panel.ends), strict=True):
        for artist in artists:
            artist.set_gid(add(mark.family))
    return parts


def _scale_y(axes: Axes, panel: Panel) -> dict[float, float]:
    heights = [y for mark in panel.marks for y in (mark.y, *(mark.y_range or ()))]
    return scale_y(axes, heights, distance=not panel.higher, log=panel.log_y)


def pareto_front(
    speeds: Sequence[float], scores: Sequence[float], higher_is_better: bool
) -> list[int]:
    """Find the points that none beats in one respect and equals in the other.

    Returns:
        Their indices by rising speed.
    """
    sign = 1.0 if higher_is_better else -1.0
    front: list[int] = []
    best = -math.inf
    for index in sorted(range(len(speeds)), key=lambda i: (-speeds[i], -sign * scores[i])):
        if sign * scores[index] > best:
            best = sign * scores[index]
            front.append(index)
    return front[::-1]


def _draw_front(axes: Axes, marks: Sequence[Mark], higher: bool) -> None:
    """Shade what the front beats, and name the front and the better corner."""
    eligible = [mark for mark in marks if mark.eligible]
    xs, ys = [mark.x for mark in eligible], [mark.y for mark in eligible]
    front = pareto_front(xs, ys, higher)
    if front:
        (left, _), (low, high) = axes.get_xlim(), axes.get_ylim()
        worst = low if higher else high
        steps = [left, *(xs[i] for i in front)]
        heights = [ys[front[0]], *(ys[i] for i in front)]
        axes.fill_between(
            steps, heights, worst, step="pre", color="#F3F3F3", linewidth=0, zorder=0.5
        )
        corners = ([*steps, steps[-1]], [*heights, worst])
        axes.step(
            *corners, where="pre", color=GREY, linewidth=1.0, linestyle=(0, (4, 2)), label="front"
        )
        axes.set(xlim=axes.get_xlim(), ylim=(low, high))
        axes.annotate(
            "Pareto front",
            (left, heights[0]),
            xytext=(3, 3 if higher else -3),
            textcoords="offset points",
            va="bottom" if higher else "top",
            fontsize=7.5,
            color=GREY,
        )
    axes.text(
        0.985,
        0.97 if higher else 0.03,
        "better ↗" if higher else "better ↘",
        transform=axes.transAxes,
        ha="right",
        va="top" if higher else "bottom",
        fontsize=8.5,
        fontweight="bold",
        color=GREY,
    )
