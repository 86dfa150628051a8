"""Draw panels: axes, marks, lines and the Pareto front."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.report.figures.canvas import Canvas
from ssdd_bench.report.figures.chart import Chart, Mark, Panel
from ssdd_bench.report.figures.labels import is_crowded, place_labels, thin_out
from ssdd_bench.report.figures.palette import GREY, SHADE, Palette

LOG_FROM: Final = 20.0  # largest over smallest positive distance, above which y is logarithmic
_PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")
_HEIGHT: Final = 3.1  # inches
_FEW: Final = 3  # marks, up to which a panel is narrow
_NARROW: Final = 2.8  # inches of a panel
_SHORT: Final = 20  # letters of labels that a narrow panel has room for
_WIDE: Final = 4.2
_TICK_GAP: Final = 0.1  # of the axes' width, between ticks at marks
_WIDEST: Final = 6.4  # of one panel alone
_FULL: Final = 8  # labels, above which a panel alone is widest
_NAMED: Final = "Named, where there is room: those on the front and the best."
_BEST_NAMED: Final = "Named, where there is room: the best."


def draw_panels(chart: Chart, palette: Palette) -> Canvas:
    """Draw the panels of a chart, from the left and in rows."""
    panels = chart.panels
    common = [one for one in panels[0].conditions if all(one in p.conditions for p in panels)]
    readings = list[str]()
    for reading, _ in Counter(panel.reading for panel in panels if panel.reading).most_common():
        titles = "; ".join(dict.fromkeys(p.title for p in panels if p.reading == reading))
        readings.append(f"{titles}: {reading}" if readings else reading)  # first that of the most
    crowded = any(is_crowded(panel.marks) for panel in panels)
    named = (_NAMED if any(panel.corner for panel in panels) else _BEST_NAMED) if crowded else ""
    below = list(filter(None, ["; ".join(common) + "." if common else "", *readings, named]))
    canvas = Canvas(chart, " ".join(below), describe(chart))
    few = all(panel.corner or len(panel.marks) <= _FEW for panel in panels) and len(panels) != 2
    few = few and all(len(mark.label) <= _SHORT for panel in panels for mark in panel.marks)
    width = _NARROW if few else _WIDE if len(panels) > 1 or not _is_full(panels[0]) else _WIDEST
    one_label = len({panel.y_label for panel in panels}) == 1
    with canvas.lay_out([_HEIGHT] * len(panels), width) as all_axes:
        for axes, panel in zip(all_axes, panels, strict=True):
            place = axes.get_subplotspec()
            first = place is None or place.is_first_col()
            shown = panel if first or not one_label else replace(panel, y_label="")
            prepare_axes(axes, shown, [one for one in panel.conditions if one not in common], width)
        canvas.finish_layout("\n".join(below))
        for axes, panel in zip(all_axes, panels, strict=True):
            canvas.parts |= draw_marks(axes, panel, palette)
    return canvas


def _is_full(panel: Panel) -> bool:
    return sum(bool(mark.label) for mark in panel.marks) > _FULL


def describe(chart: Chart) -> str:
    """Write the alternative text: axes, and the ends of what each panel shows."""
    first = chart.panels[0]
    texts = [f"{chart.title}: {' '.join(first.y_label.split())} against {first.x_label}."]
    for panel in chart.panels:
        sign = 1 if panel.higher else -1
        best = max(panel.marks, key=lambda mark: sign * mark.y)
        text = f"{panel.title}: best {_name(best, panel)}, {best.y:.4g}"
        if panel.corner:
            word = "smallest" if panel.less_x else "fastest"
            unit = panel.x_label.removeprefix("decode ").removesuffix(" (log)")
            end = (min if panel.less_x else max)(panel.marks, key=lambda mark: mark.x)
            text += f" at {best.x:.3g} {unit}; {word} {_name(end, panel)}, {end.y:.4g} at "
            text += f"{end.x:.3g} {unit}"
        texts.append(text + ".")
    return " ".join(texts)


def _name(mark: Mark, panel: Panel) -> str:
    """Name a mark by its label, and by the label of its path where its own is a part of that."""
    if mark.label and not mark.label.endswith((" step", " steps")):
        return mark.label
    path = [one.label for one in panel.marks if one.line == mark.line and one.label]
    network = max(path, key=len, default=mark.family).partition(", ")[0]
    return mark.label if mark.label.startswith(network) else f"{network} {mark.label}".strip()


def prepare_axes(
    axes: Axes, panel: Panel, conditions: Sequence[str] = (), width: float = _WIDE
) -> None:
    """Write titles and labels, which the place of the axes depends on, and choose the scales.

    Args:
        axes: of the panel.
        panel: what is drawn.
        conditions: written below the title, in lines as wide as the axes.
        width: inches of the panel.
    """
    letters = int((width - 0.7) * 72 / 4.1)  # the rest is for ticks and their label
    lines = textwrap.wrap("; ".join(conditions), letters)
    put_title(axes, panel.title, room=10 * len(lines))
    if lines:
        axes.annotate(
            "\n".join(lines),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=7,
            color=GREY,
        ).set_in_layout(False)  # the title leaves its room
    _scale_x(axes, panel)
    _scale_y(axes, panel)
    log = " (log)" if axes.get_yscale() == "log" and panel.y_label else ""
    axes.set_ylabel(panel.y_label + log)
    axes.set_xlabel(panel.x_label)


def put_title(axes: Axes, text: str, *, room: float = 0.0) -> None:
    """Put a short title above the left end of the axes, and ``room`` points between them."""
    # With y given, matplotlib spares its search for ticks that the title might cover.
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", pad=6 + room, y=1.0)


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

    if panel.corner:
        _draw_front(axes, panel)
    for line in dict.fromkeys(mark.line for mark in marks if mark.line):
        mine = sorted((mark for mark in marks if mark.line == line), key=lambda mark: mark.x)
        if len(mine) > 1:
            color, gid = palette.color(mine[0].family), add(mine[0].family)
            places = [mark.x for mark in mine], [mark.y for mark in mine]
            axes.plot(*places, color=color, linewidth=1.4, alpha=0.7, gid=gid)
    for family in dict.fromkeys(mark.family for mark in marks):
        if bars := _bars(mark for mark in marks if mark.family == family):
            color = palette.color(family)
            axes.add_line(Line2D(*bars, color=color, linewidth=1.0, gid=add(family)))
    # Marks that look alike are one line: the time of drawing grows with the number of artists.
    alike: dict[tuple[str, str, bool], list[Mark]] = {}
    for mark in marks:
        alike.setdefault((mark.family, mark.marker, mark.front), []).append(mark)
    for (family, shape, front), mine in sorted(alike.items(), key=lambda item: item[0][2]):
        gid = " ".join(add(family, mark.tip) for mark in mine)  # see name_marks
        places = [mark.x for mark in mine], [mark.y for mark in mine]
        style = palette.marker(family, shape, front=front)
        axes.add_line(Line2D(*places, **style, zorder=3, gid=gid))
    shown = thin_out(marks, panel.higher)
    labelled = [mark for mark in shown if mark.label]
    placed = place_labels(axes, shown, ends=panel.ends, crowded=is_crowded(marks))
    for mark, artists in zip(labelled, placed, strict=True):
        for artist in artists:
            artist.set_gid(add(mark.family))
    return parts


def _bars(marks: Iterable[Mark]) -> tuple[list[float], list[float]] | None:
    """Return the error bars of marks as one path with gaps, which is drawn once."""
    xs, ys = list[float](), list[float]()
    for mark in marks:
        if mark.x_range:
            xs, ys = [*xs, *mark.x_range, math.nan], [*ys, mark.y, mark.y, math.nan]
        if mark.y_range:
            xs, ys = [*xs, mark.x, mark.x, math.nan], [*ys, *mark.y_range, math.nan]
    return (xs, ys) if xs else None


def envelope(marks: Sequence[Mark], higher: bool, less_x: bool = False) -> list[Mark]:
    """Return the marks that no other one exceeds in both respects, the worst in x first."""
    sign, way = 1.0 if higher else -1.0, -1.0 if less_x else 1.0
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (-way * mark.x, -sign * mark.y)):
        if not found or sign * mark.y > sign * found[-1].y:
            found.append(mark)
    return found[::-1]


def _scale_x(axes: Axes, panel: Panel) -> None:
    """Make x logarithmic, with room for labels."""
    values = [x for mark in panel.marks for x in (mark.x, *(mark.x_range or ())) if x > 0]
    axes.set_xscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.2 * (high - low), (0.5 - (high - low)) / 2, 0.1)
    axes.set_xlim(10 ** (low - room), 10 ** (high + (3.5 * room if panel.ends else room)))
    ticks = (
        _apart([mark.x for mark in panel.marks], axes)
        if panel.ticks
        else _log_ticks(axes, wide=high - low > 1.5)
    )
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _apart(values: Sequence[float], axes: Axes) -> list[float]:
    """Keep of some values on x, from the least up, those whose numbers do not touch."""
    left, right = np.log10(axes.get_xlim())
    kept: list[float] = []
    for value in sorted(values):
        if not kept or math.log10(value / kept[-1]) > _TICK_GAP * (right - left):
            kept.append(value)
    return kept


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


def _draw_front(axes: Axes, panel: Panel) -> None:
    """Shade the area behind the marks on the front, and name the better corner."""
    higher, less_x = panel.higher, panel.less_x
    if front := envelope([mark for mark in panel.marks if mark.front], higher, less_x):
        side, worst = axes.get_xlim()[1 if less_x else 0], axes.get_ylim()[0 if higher else 1]
        xs = [side, *(mark.x for mark in front)]
        ys = [front[0].y, *(mark.y for mark in front)]
        axes.fill_between(xs, ys, worst, step="pre", color=SHADE, linewidth=0, zorder=0.5)
        axes.step(
            [*xs, xs[-1]],
            [*ys, worst],
            where="pre",
            color=GREY,
            linewidth=1.0,
            linestyle=(0, (4, 2)),
            label="front",
        )
    arrow = ("↖" if less_x else "↗") if higher else ("↙" if less_x else "↘")
    axes.text(
        0.015 if less_x else 0.985,
        0.97 if higher else 0.03,
        f"better {arrow}",
        transform=axes.transAxes,
        ha="left" if less_x else "right",
        va="top" if higher else "bottom",
        fontsize=8.5,
        fontweight="bold",
        color=GREY,
    )
