"""Style that all figures share: colours, markers, and how a figure becomes a file.

Figures are built without pyplot, so nothing global changes, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssdd_bench.report.ranking import is_baseline
from ssdd_bench.results.files import write_atomically, write_text

# Palette of Okabe and Ito, told apart by every kind of colour vision; yellow is too pale on white.
COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
GREY: Final = "#666666"
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
    """A figure and its interactive parts."""

    name: str  # stem of its files
    title: str  # caption on the page
    metric: str = ""  # that it shows, where a report has such a figure for each
    figure: Figure = field(init=False)
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)  # family and hover text by id

    @property
    def key(self) -> str:
        """Prefix of the ids in its SVG."""
        return f"{self.name}-{self.metric}" if self.metric else self.name

    @contextmanager
    def lay_out(self, weights: Sequence[int], heights: Sequence[float]) -> Iterator[list[Axes]]:
        """Make the figure and yield its axes: columns of four that each takes, least inches."""
        rows: list[list[Any]] = [[]]
        for index, weight in enumerate(weights):
            if len(rows[-1]) + weight > _UNITS:
                rows.append([])
            rows[-1] += [index] * weight
        columns = min(sum(weights), _UNITS)
        tallest = [max(heights[index] for index in row) for row in rows]
        with _style(self.key):
            size = (_WIDTHS[columns - 1], sum(tallest))
            self.figure = Figure(figsize=size, layout="constrained")
            FigureCanvasAgg(self.figure)  # measures text; the figure holds on to it
            mosaic = [row + ["."] * (columns - len(row)) for row in rows]
            panels = self.figure.subplot_mosaic(mosaic, height_ratios=tallest)
            for index, axes in panels.items():
                axes.set_gid(f"{self.key}-{index}")
                axes.set_label("")
            yield list(panels.values())

    def finish_layout(self, remark: str) -> None:
        """Write a remark below the panels and keep these where they are now."""
        if remark:
            text = self.figure.supxlabel(remark, x=0.01, ha="left", fontsize=7.5, color="0.35")
            text.set_gid(f"{self.key}-remark")
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def save(self, path: Path) -> Path:
        """Write a .png, .svg or .pdf without dates: equal figures are equal bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        if path.suffix == ".svg":
            return write_text(path, self.svg)
        with _style(self.key):
            save = partial(self.figure.savefig, metadata=_UNDATED[path.suffix])
            write_atomically(path, partial(save, format=path.suffix[1:]))
        return path

    @cached_property
    def svg(self) -> str:
        """Text of the SVG file."""
        buffer = io.StringIO()
        with _style(self.key):
            self.figure.savefig(buffer, format="svg", metadata=_UNDATED[".svg"])
        return buffer.getvalue()

    @cached_property
    def panels(self) -> dict[str, tuple[float, float, float, float]]:
        """Left, top, width and height of each panel in points, by the id of its SVG element.

        The page stacks the panels on a narrow screen.
        """
        height, scale = self.figure.bbox.height, 72 / self.figure.dpi
        found = {}
        with _style(self.key):
            for axes in self.figure.axes:
                if box := axes.get_tightbbox():
                    corner = (box.x0, height - box.y1, box.width, box.height)
                    x, y, width, high = (round(one * scale, 1) for one in corner)
                    found[str(axes.get_gid())] = (x, y, width, high)
        return found


def inline_svg(svg: str) -> str:
    """Make an SVG file part of a page: drop its prologue, size, comments and numbered ids."""
    view = re.search(r'viewBox="0 0 ([\d.]+) [^"]*"', svg)
    assert view is not None, "an SVG file without a view box"
    style = f"max-width: {1.6 * float(view[1]):.0f}px"  # text is as large in all figures
    body = svg[svg.index(">", view.end()) + 1 :]
    body = re.sub(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->", "", body, flags=re.DOTALL)
    return f'<svg {view[0]} style="{style}">' + re.sub(r' id="[\w.]+_\d+"', "", body)


def _style(salt: str) -> AbstractContextManager[None]:
    """Apply our style whatever the user's matplotlibrc says, and restore the user's."""
    own = {**_STYLE, "svg.hashsalt": f"ssdd-bench {salt}"}
    return mpl_style.context(own, after_reset=True)
