"""Axes of a panel: titles, labels and scales."""

from __future__ import annotations

import math
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.report.figures.panel import Panel

LOG_FROM: Final = 20.0  # largest over smallest positive distance, above which y is logarithmic
_PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")


def prepare_axes(axes: Axes, panel: Panel, remark: str = "") -> dict[float, float]:
    """Write titles and labels, which the place of the axes depends on, and choose the scales.

    Returns:
        Places of the values that y has no place for: infinite ones at the edge and, on a
        logarithmic scale, zeros at the bottom.
    """
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
    pinned = _scale_y(axes, panel)
    log = " (log)" if axes.get_yscale() == "log" and panel.y_label else ""
    axes.set_ylabel(panel.y_label + log)
    axes.set_xlabel(panel.x_label)
    return pinned


def put_title(axes: Axes, text: str, *, room: float = 0.0) -> None:
    """Put a short title above the left end of the axes, and ``room`` points between them."""
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", pad=6 + room)


def _scale_x(axes: Axes, panel: Panel) -> None:
    """Make x logarithmic, with room for labels."""
    values = [mark.x for mark in panel.marks]
    axes.set_xscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.2 * (high - low), (0.5 - (high - low)) / 2, 0.1)
    axes.set_xlim(10 ** (low - room), 10 ** (high + (3.5 * room if panel.ends else room)))
    if panel.ticks:
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
    else:
        axes.xaxis.set_major_locator(_log_ticks(wide=high - low > 1.5))
        if len(_visible(axes)) < 2:  # Matplotlib would fill a short range with crowded ticks.
            ticks = [
                factor * 10.0**power for power in range(-4, 9) for factor in (1, 1.5, 2, 3, 5, 7)
            ]
            axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _scale_y(axes: Axes, panel: Panel) -> dict[float, float]:
    """Make y logarithmic where distances differ much, with room for labels and pinned values."""
    values = [y for mark in panel.marks for y in (mark.y, *(mark.y_range or ()))]
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    positive = [value for value in finite if value > 0]
    wide = bool(positive) and max(positive) / min(positive) > LOG_FROM
    if panel.log_y or (not panel.higher and wide and min(finite) >= 0):
        axes.set_yscale("log")
        low, high = math.log10(min(positive)), math.log10(max(positive))
        room = max(0.15 * (high - low), 0.1)
        pinned = {0.0: 10 ** (low - 2 * room)} if 0.0 in finite else {}
        axes.set_ylim(10 ** (low - (3 if pinned else 1) * room), 10 ** (high + room))
        axes.yaxis.set_major_locator(_log_ticks(wide))
        axes.yaxis.set_major_formatter(_PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())
        return pinned
    low, high = min(finite), max(finite)
    room = 0.15 * ((high - low) or abs(high) or 1.0)
    pinned = {math.inf: high + 2 * room} if math.inf in values else {}
    axes.set_ylim(low - room, high + (3 if pinned else 1) * room)
    return pinned


def _visible(axes: Axes) -> list[float]:
    """Return the multiples 1, 2 and 5 of powers of ten on the x axis."""
    low, high = axes.get_xlim()
    ticks = (factor * 10.0**power for power in range(-4, 9) for factor in (1, 2, 5))
    return [tick for tick in ticks if low <= tick <= high]


def _log_ticks(wide: bool) -> LogLocator:
    """Place ticks at powers of ten and, unless the range is wide, at twice and five times them."""
    return LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0))
