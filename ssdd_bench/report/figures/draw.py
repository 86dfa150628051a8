"""Draw panels: axes, marks, lines, the Pareto front and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
import textalloc
from matplotlib.axes import Axes
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.report.figures.panel import Mark, Panel
from ssdd_bench.report.figures.style import GREY, Drawing, Palette

LOG_FROM: Final = 20.0  # largest over smallest positive distance, above which y is logarithmic
_SIZE: Final = 8.0  # points, of labels
_CLEARANCE: Final = 4.5  # points that labels keep from the centre of a mark
_PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")
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
        above = ""
        for axes, panel in zip(all_axes, panels, strict=True):
            shown = replace(panel, y_label="") if panel.y_label == above else panel
            prepare_axes(axes, shown, panel.remark if len(remarks) > 1 else "")
            above = panel.y_label
        drawing.finish_layout(remarks[0] if len(remarks) == 1 else "")
        for axes, panel in zip(all_axes, panels, strict=True):
            drawing.parts |= draw_marks(axes, panel, palette)
    return drawing


def prepare_axes(axes: Axes, panel: Panel, remark: str = "") -> None:
    """Write titles and labels, which the place of the axes depends on, and choose the scales."""
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
    _scale_x(axes, panel)
    _scale_y(axes, panel)
    log = " (log)" if axes.get_yscale() == "log" and panel.y_label else ""
    axes.set_ylabel(panel.y_label + log)
    axes.set_xlabel(panel.x_label)


def put_title(axes: Axes, text: str, *, room: float = 0.0) -> None:
    """Put a short title above the left end of the axes, and ``room`` points between them."""
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", pad=6 + room)


def draw_marks(axes: Axes, panel: Panel, palette: Palette) -> dict[str, tuple[str, str]]:
    """Draw everything inside the axes, whose place in the figure must be final.

    Returns:
        Family and hover text by id of an SVG element.
    """
    marks = panel.marks
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


def _scale_x(axes: Axes, panel: Panel) -> None:
    """Make x logarithmic, with room for labels."""
    values = [mark.x for mark in panel.marks]
    axes.set_xscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.2 * (high - low), (0.5 - (high - low)) / 2, 0.1)
    axes.set_xlim(10 ** (low - room), 10 ** (high + (3.5 * room if panel.ends else room)))
    ticks = sorted(set(values)) if panel.ticks else _log_ticks(axes, wide=high - low > 1.5)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _scale_y(axes: Axes, panel: Panel) -> None:
    """Make y logarithmic where distances differ much, with room for labels."""
    values = [y for mark in panel.marks for y in (mark.y, *(mark.y_range or ()))]
    low, high = min(values), max(values)
    if panel.log_y or (not panel.higher and 0 < LOG_FROM * low < high):
        axes.set_yscale("log")
        room = max((high / low) ** 0.15, 10**0.1)
        axes.set_ylim(low / room, high * room)
        wide = high / low > LOG_FROM
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(_PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        room = 0.15 * ((high - low) or abs(high) or 1.0)
        axes.set_ylim(low - room, high + room)


def _log_ticks(axes: Axes, wide: bool) -> list[float]:
    """Choose multiples of powers of ten on x, closer ones where fewer than two would be seen."""
    low, high = axes.get_xlim()
    ticks: list[float] = []
    for factors in ((1.0,) if wide else (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        if len(ticks) < 2:
            ticks = [factor * 10.0**power for power in range(-4, 9) for factor in factors]
            ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks


def _draw_front(axes: Axes, marks: Sequence[Mark], higher: bool) -> None:
    """Shade the area that the front beats, and name the front and the better corner."""
    if front := pareto_front([mark for mark in marks if mark.eligible], higher):
        left, worst = axes.get_xlim()[0], axes.get_ylim()[0 if higher else 1]
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


def place_labels(axes: Axes, marks: Sequence[Mark], *, ends: bool = False) -> list[list[Any]]:
    """Put labels where they cover no mark, line or text, by textalloc's greedy search.

    The search has no random part, so equal figures have equal labels. Sizes are given in pixels,
    since textalloc's relative distances stretch with the shape of the figure. Limits, scales and
    place of the axes must be final.

    Returns:
        The text of each labelled mark, and the line that leads to it if it is far away.
    """
    allocate: Any = textalloc.allocate  # its annotations forbid None and say nothing of artists
    labelled = [mark for mark in marks if mark.label]
    if not labelled:
        return []
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure), "axes without a figure"
    clearance = _CLEARANCE * figure.dpi / 72
    obstacles = [(mark.x, mark.y, clearance) for mark in marks] + _text_obstacles(axes)
    lines = [
        STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_data())
        for line in axes.get_lines()
        if line.get_linestyle() != "None"
    ]
    xs, ys, sizes = (list(values) for values in zip(*obstacles, strict=True))
    with _already_drawn(figure):
        _, _, texts, leaders = allocate(
            axes,
            [mark.x for mark in labelled],
            [mark.y for mark in labelled],
            [mark.label for mark in labelled],
            x_scatter=xs,
            y_scatter=ys,
            scatter_sizes=sizes,
            text_scatter_sizes=[clearance] * len(labelled),
            x_lines=[np.asarray(x, float) for x, _ in lines],
            y_lines=[np.asarray(y, float) for _, y in lines],
            textsize=_SIZE,
            direction=["east", "northeast", "southeast"] if ends else None,
            margin=0.001,
            min_distance=0.002,
            max_distance=0.25,
            linecolor="0.6",
            linewidth=0.6,
            zorder=5,
            parse_math=False,
        )
    found = [[text] for text in texts]
    for artists, leader in zip(found, leaders, strict=True):
        if leader is not None:
            tips = axes.transData.transform(np.column_stack(leader.get_data()))
            if np.hypot(*(tips[1] - tips[0])) < 2.5 * clearance:
                leader.remove()
            else:
                artists.append(leader)
    return found


@contextmanager
def _already_drawn(figure: Figure) -> Iterator[None]:
    """Spare the drawing of the whole figure with which textalloc begins, once for each panel."""
    figure.draw_without_rendering = lambda: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del figure.draw_without_rendering  # of this object; the method is seen again


def _text_obstacles(axes: Axes) -> list[tuple[float, float, float]]:
    """Cover the texts inside the axes with squares: centres in data and half sizes in pixels."""
    found = []
    for text in axes.texts:
        box = text.get_window_extent()
        half = box.height / 2
        for x in np.arange(box.x0 + half, box.x1, half):
            centre = axes.transData.inverted().transform((x, box.y0 + half))
            found.append((float(centre[0]), float(centre[1]), float(half)))
    return found
