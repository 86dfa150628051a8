"""Style that all figures share: colours, markers, axes, and how a figure becomes a file.

Figures are built without pyplot, so nothing global changes, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.report.ranking import is_baseline

# Palette of Okabe and Ito, told apart by every kind of colour vision; yellow is too pale on white.
COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
RATE_MARKERS: Final = {4: "^", 8: "o", 16: "s", 32: "D", 64: "v"}  # by compression rate f
GREY: Final = "#666666"
LOG_FROM: Final = 20.0  # largest over smallest positive distance, above which y is logarithmic
_UNITS: Final = 4  # columns of the grid that panels are laid out on
_WIDTHS: Final = (4.2, 5.2, 7.0, 8.3)  # inches, by columns in use; the README shows 8.3 as 830 px
_UNDATED: Final[dict[str, dict[str, Any]]] = {
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
    ".png": {"Software": None},
}
_STYLE: Final[dict[Any, Any]] = {
    "figure.dpi": 150.0,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#EBEBEB",
    "grid.linewidth": 0.8,
    "svg.fonttype": "none",  # a tenth of the bytes of outlines, and text that can be searched
    "text.parse_math": False,  # names come from users and may hold a dollar sign
}


@dataclass(frozen=True)
class Palette:
    """One colour for each tokenizer, the same in all figures of a report.

    After seven families the colours begin again with hollow markers.
    """

    families: tuple[str, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Palette:
        """Assign the colours in the order of the rows, baselines last."""
        baselines = is_baseline(frame)
        return cls(tuple(dict.fromkeys([*frame["id"][~baselines], *frame["id"][baselines]])))

    def color(self, family: str) -> str:
        """Return the colour of a family; grey if it is not one of the palette."""
        if family not in self.families:
            return GREY
        return COLORS[self.families.index(family) % len(COLORS)]

    def marker(self, family: str, marker: str) -> dict[str, Any]:
        """Return the style of a family's marker."""
        color = self.color(family)
        hollow = family in self.families and self.families.index(family) // len(COLORS) % 2
        return {
            "color": color,
            "marker": marker,
            "markersize": 7,
            "markerfacecolor": "white" if hollow else color,
            "markeredgecolor": color if hollow else "white",
            "markeredgewidth": 1.4 if hollow else 0.8,
            "linestyle": "none",
        }


@dataclass
class Drawing:
    """A finished figure.

    Attributes:
        name: stem of its files.
        key: name in its SVG's ids; other than ``name`` where a report has several of one name.
        title: caption on the page.
        figure: the figure itself.
        parts: family and hover text by the id of an SVG element; "" where there is none.
        panels: by the id of an SVG element: left, top, width and height in points.
    """

    name: str
    key: str
    title: str
    figure: Figure
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)
    panels: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)

    def save(self, path: Path) -> Path:
        """Write a file without dates: equal figures are equal bytes.

        Raises:
            UserError: the suffix is none of .png, .svg and .pdf.
            OutputError: the file cannot be written.
        """
        if path.suffix not in _UNDATED:
            raise UserError(
                f"{path}: unknown kind of figure '{path.suffix}'. "
                f"Choose one of {', '.join(sorted(_UNDATED))}."
            )
        try:
            if path.suffix == ".svg":
                path.write_text(self.svg, "utf-8")
            else:
                with _style(self.key):
                    self.figure.savefig(path, metadata=_UNDATED[path.suffix])
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        return path

    @cached_property
    def svg(self) -> str:
        """Text of the SVG file."""
        buffer = io.StringIO()
        with _style(self.key):
            self.figure.savefig(buffer, format="svg", metadata=_UNDATED[".svg"])
        return buffer.getvalue()

    def locate_panels(self) -> None:
        """Measure the panels, so that the page can stack them on a narrow screen."""
        height, scale = self.figure.bbox.height, 72 / self.figure.dpi
        for axes in self.figure.axes:
            box = axes.get_tightbbox()
            gid = axes.get_gid()
            if box is not None and gid:
                corner = (box.x0, height - box.y1, box.width, box.height)
                x, y, width, high = (round(one * scale, 1) for one in corner)
                self.panels[gid] = (x, y, width, high)


def inline_svg(svg: str) -> str:
    """Make an SVG file part of a page: drop its prologue, size, comments and numbered ids."""
    view = re.search(r'viewBox="0 0 ([\d.]+) [^"]*"', svg)
    assert view is not None, "an SVG file without a view box"
    style = f"max-width: {1.6 * float(view[1]):.0f}px"  # text is as large in all figures
    body = svg[svg.index(">", view.end()) + 1 :]
    body = re.sub(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->", "", body, flags=re.DOTALL)
    return f'<svg {view[0]} style="{style}">' + re.sub(r' id="[\w.]+_\d+"', "", body)


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """Apply our style whatever the user's matplotlibrc says, and restore the user's."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_STYLE, "svg.hashsalt": f"ssdd-bench {salt}"})
        yield


@contextmanager
def sheet(
    key: str, weights: Sequence[int], heights: Sequence[float]
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Lay out panels in rows of four columns.

    Args:
        key: of the drawing.
        weights: columns of each panel, 1 to 4.
        heights: least height of each panel, in inches.
    """
    places, row, column = [], 0, 0
    for weight in weights:
        if column + weight > _UNITS:
            row, column = row + 1, 0
        places.append((row, slice(column, column + weight)))
        column += weight
    columns = min(sum(weights), _UNITS)
    rows = [
        max(height for height, (at, _) in zip(heights, places, strict=True) if at == one)
        for one in range(row + 1)
    ]
    with _style(key):
        figure = Figure(figsize=(_WIDTHS[columns - 1], sum(rows)), layout="constrained")
        FigureCanvasAgg(figure)  # measures text; the figure holds on to it
        grid = figure.add_gridspec(row + 1, columns, height_ratios=rows)
        panels = [figure.add_subplot(grid[place]) for place in places]
        for index, axes in enumerate(panels):
            axes.set_gid(f"{key}-{index}")
        yield figure, panels


def put_title(axes: Axes, text: str, *, room: float = 0.0) -> None:
    """Put a short title above the left end of the axes, and ``room`` points between them."""
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", pad=6 + room)


def scale_x(
    axes: Axes, values: Sequence[float], *, ticks: bool = False, ends: bool = False
) -> None:
    """Make x logarithmic, with room for labels.

    Args:
        axes: to scale.
        values: of the marks, above 0.
        ticks: put ticks at the values alone, as for steps and resolutions.
        ends: leave room for labels right of the last value.
    """
    axes.set_xscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.2 * (high - low), (0.5 - (high - low)) / 2, 0.1)
    axes.set_xlim(10 ** (low - room), 10 ** (high + (3.5 * room if ends else room)))
    if ticks:
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
    else:
        wide = high - low > 1.5
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def scale_y(
    axes: Axes, values: Sequence[float], *, distance: bool, log: bool
) -> dict[float, float]:
    """Choose the scale of y, with room for labels.

    Args:
        axes: to scale.
        values: of the marks; infinite ones are possible.
        distance: values are distances, logarithmic where they differ much.
        log: always logarithmic.

    Returns:
        Places of the values that the scale has no place for: infinite ones at the edge and, on a
        logarithmic scale, zeros at the bottom.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    positive = [value for value in finite if value > 0]
    wide = bool(positive) and max(positive) / min(positive) > LOG_FROM
    if log or (distance and wide and min(finite) >= 0):
        axes.set_yscale("log")
        low, high = math.log10(min(positive)), math.log10(max(positive))
        room = max(0.15 * (high - low), 0.1)
        pinned = {0.0: 10 ** (low - 2 * room)} if 0.0 in finite else {}
        axes.set_ylim(10 ** (low - (3 if pinned else 1) * room), 10 ** (high + room))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return pinned
    low, high = min(finite), max(finite)
    room = 0.15 * ((high - low) or abs(high) or 1.0)
    pinned = {math.inf: high + 2 * room} if math.inf in values else {}
    axes.set_ylim(low - room, high + (3 if pinned else 1) * room)
    return pinned
