"""Draw panels: marks, lines, the Pareto front and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from matplotlib.axes import Axes

from ssdd_bench.report.figures.axes import prepare_axes
from ssdd_bench.report.figures.labels import place_labels
from ssdd_bench.report.figures.panel import Mark, Panel
from ssdd_bench.report.figures.style import GREY, Drawing, Palette
from ssdd_bench.report.tables.numbers import format_number

_HEIGHT: Final = 3.1  # inches
_FEW: Final = 3  # marks, up to which a panel is narrow


def draw_panels(
    name: str, title: str, panels: Sequence[Panel], palette: Palette, metric: str = ""
) -> Drawing:
    """Draw a figure of panels, from the left and in rows; see :class:`Drawing` for the names."""
    weights = [1 if len(panel.marks) <= _FEW and not panel.ends else 2 for panel in panels]
    drawing = Drawing(name, title, metric)
    with drawing.lay_out(weights, [_HEIGHT] * len(panels)) as all_axes:
        remarks = list(dict.fromkeys(panel.remark for panel in panels))
        pinned, above = [], ""
        for axes, panel in zip(all_axes, panels, strict=True):
            shown = replace(panel, y_label="") if panel.y_label == above else panel
            pinned.append(prepare_axes(axes, shown, panel.remark if len(remarks) > 1 else ""))
            above = panel.y_label
        drawing.finish_layout(remarks[0] if len(remarks) == 1 else "")
        for axes, panel, places in zip(all_axes, panels, pinned, strict=True):
            drawing.parts |= draw_marks(axes, panel, palette, places)
    return drawing


def draw_marks(
    axes: Axes, panel: Panel, palette: Palette, pinned: Mapping[float, float]
) -> dict[str, tuple[str, str]]:
    """Draw everything inside the axes, whose place in the figure must be final.

    Args:
        axes: from :func:`ssdd_bench.report.figures.axes.prepare_axes`.
        panel: its marks.
        palette: colours.
        pinned: places of values off the scale, which are written beside the label.

    Returns:
        Family and hover text by id of an SVG element.
    """
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
        gid = f"{axes.get_gid() or 'panel'}-{len(parts)}"
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
        for xs, ys in ((mark.x_range, (mark.y, mark.y)), ((mark.x, mark.x), mark.y_range)):
            if xs and ys:
                axes.plot(xs, ys, color=color, linewidth=1.0, gid=add(mark.family))
        style = palette.marker(mark.family, mark.marker)
        axes.plot([mark.x], [mark.y], **style, zorder=3, gid=add(mark.family, mark.tip))
    labelled = [mark for mark in marks if mark.label]
    for mark, artists in zip(labelled, place_labels(axes, marks, ends=panel.ends), strict=True):
        for artist in artists:
            artist.set_gid(add(mark.family))
    return parts


def pareto_front(marks: Sequence[Mark], higher: bool) -> list[Mark]:
    """Return the marks that none beats in one respect and equals in the other, by rising x."""
    sign = 1.0 if higher else -1.0
    front: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (-mark.x, -sign * mark.y)):
        if not front or sign * mark.y > sign * front[-1].y:
            front.append(mark)
    return front[::-1]


def _draw_front(axes: Axes, marks: Sequence[Mark], higher: bool) -> None:
    """Shade the area that the front beats, and name the front and the better corner."""
    if front := pareto_front([mark for mark in marks if mark.eligible], higher):
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        worst = low if higher else high
        xs = [left, *(mark.x for mark in front)]
        ys = [front[0].y, *(mark.y for mark in front)]
        axes.fill_between(xs, ys, worst, step="pre", color="#F3F3F3", linewidth=0, zorder=0.5)
        axes.step(
            [*xs, xs[-1]],
            [*ys, worst],
            where="pre",
            color=GREY,
            linewidth=1.0,
            linestyle=(0, (4, 2)),
            label="front",
        )
        axes.set(xlim=(left, right), ylim=(low, high))
        axes.annotate(
            "Pareto front",
            (left, ys[0]),
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
