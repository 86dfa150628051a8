"""The sheet that every figure is drawn on: style, scales, titles, labels and the file.

Figures are built without pyplot, so nothing global changes, and equal input gives equal bytes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.report.labels import Point, place_labels, stack_labels

# Okabe and Ito's palette, told apart by every kind of colour vision; yellow is too pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "h", "X", "P", "*", "d")
GREY = "0.45"  # of what was published and not measured
LOG_FROM = 20.0  # largest over smallest positive distance, above which y is logarithmic
_STYLE: dict[Any, Any] = {
    "figure.dpi": 150.0,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "ssdd-bench",
}


def scale_x(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic, with room for labels; a narrow range still shows a factor of ten."""
    axes.set_xscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.18 * (high - low), (1.0 - (high - low)) / 2, 0.12)
    axes.set_xlim(10 ** (low - margin), 10 ** (high + margin))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high - low > 1.5 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def scale_y(axes: Axes, values: Sequence[float], *, distance: bool = False) -> dict[float, float]:
    """Choose the scale and room for labels.

    Returns:
        Where to draw values that the scale has no place for: infinite ones at the edge and, on a
        logarithmic scale, zeros at the bottom.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    positive = [value for value in finite if value > 0]
    if distance and positive and min(finite) >= 0 and max(positive) / min(positive) > LOG_FROM:
        axes.set_yscale("log")
        low, high = math.log10(min(positive)), math.log10(max(positive))
        room = 0.12 * (high - low)
        floor = 10 ** (low - 2 * room)
        pinned = {0.0: floor} if 0.0 in finite else {}
        axes.set_ylim(10 ** (low - (3 if pinned else 1) * room), 10 ** (high + room))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return pinned
    low, high = min(finite), max(finite)
    room = 0.12 * ((high - low) or abs(high) or 1.0)
    pinned = {}
    if math.inf in values:
        pinned[math.inf] = high + 2 * room
    axes.set_ylim(low - room, high + (3 if pinned else 1) * room)
    return pinned


def put_title(axes: Axes, title: str, *remarks: str, width: int = 72) -> None:
    """Put a title and small grey lines of remarks, wrapped, above the axes."""
    lines = [line for remark in remarks for line in textwrap.wrap(remark, width)]
    axes.set_title(title, loc="left", fontsize=10, pad=6 + 11 * len(lines))
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=7.5,
        color="0.3",
        va="bottom",
    )


def styles_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker by tokenizer; markers alone tell up to thirteen apart in print."""
    return {
        name: {
            "color": COLORS[index % len(COLORS)],
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 7,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
            "linewidth": 0.7,
            "zorder": 3,
        }
        for index, name in enumerate(names)
    }


def cycle(items: Sequence[str]) -> Iterator[str]:
    """Repeat without end."""
    while True:
        yield from items


@contextmanager
def canvas(
    panels: int, width: float = 4.9, height: float = 4.3
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in our style whatever the user's matplotlibrc says, restored on leaving."""
    columns = min(panels, 2)
    lines = math.ceil(panels / columns)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(max(columns * width, 6.0), lines * height), layout="constrained")
        FigureCanvasAgg(figure)  # measures text; the figure holds on to it
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for spare in grid[panels:]:
            spare.remove()
        yield figure, list(grid[:panels])


def finish(
    figure: Figure,
    labels: Iterable[tuple[Axes, list[Point]]],
    *paths: Path,
    ends_of_lines: bool = False,
) -> None:
    """Place the labels and write the files without dates: equal figures are equal bytes.

    Args:
        figure: with its axes.
        labels: of each axes.
        paths: of kind .png, .svg or .pdf.
        ends_of_lines: labels go in a column right of the lines, not beside each point.

    Raises:
        UserError: a suffix is none of .png, .svg and .pdf.
        OutputError: a file cannot be written.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed for the axes as they are now
    for axes, points in labels:
        (stack_labels if ends_of_lines else place_labels)(axes, points)
    undated: dict[str, dict[str, Any]] = {
        ".svg": {"Date": None},
        ".pdf": {"CreationDate": None},
        ".png": {"Software": None},
    }
    for path in map(Path, paths):
        if path.suffix not in undated:
            raise UserError(f"{path}: figures are written as {', '.join(sorted(undated))} only")
        try:
            figure.savefig(path, metadata=undated[path.suffix])
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
