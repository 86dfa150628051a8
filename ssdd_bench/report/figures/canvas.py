"""Canvas of a figure: the style that all share, the place of the panels, and the bytes of files.

Figures are built without pyplot, so nothing global changes, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

import numpy as np
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory as blend
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ssdd_bench.report.figures.chart import Chart, Distributions
from ssdd_bench.report.figures.drawing import Drawing, Place, figure_key
from ssdd_bench.report.figures.palette import GREY, GRID, INK
from ssdd_bench.report.figures.svg import inline_svg, name_marks

_WIDTH: Final = 8.4  # inches at most; the README shows them as 840 px
_STYLE: Final[dict[Any, Any]] = {
    "figure.dpi": 150.0,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    "svg.fonttype": "none",  # a tenth of the bytes of outlines, and text that can be searched
    "text.parse_math": False,  # names come from users and may hold a dollar sign
}


@dataclass
class Canvas:
    """The figure of a chart that is being drawn; see :class:`Drawing` for what becomes of it."""

    chart: Chart | Distributions
    caption: str
    alt: str
    figure: Figure = field(init=False)
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)
    panels: dict[str, Place] = field(init=False)

    @property
    def key(self) -> str:
        """Prefix of the ids in its SVG."""
        return figure_key(self.chart.name, self.chart.metric)

    @contextmanager
    def lay_out(self, heights: Sequence[float], width: float = 4.15) -> Iterator[list[Axes]]:
        """Make the figure and yield its axes: panels of equal width, in rows as even as can be.

        Args:
            heights: least inches of each panel.
            width: inches of a panel, of which two or three fit into a row.
        """
        most = max(1, int(_WIDTH / width))
        rows = -(-len(heights) // most)
        columns = -(-len(heights) // rows)
        places = [range(i, min(i + columns, len(heights))) for i in range(0, len(heights), columns)]
        tallest = [max(heights[index] for index in row) for row in places]
        with _style(self.key):
            size = (columns * width, sum(tallest))
            self.figure = Figure(figsize=size, layout="constrained")
            FigureCanvasAgg(self.figure)  # measures text; the figure holds on to it
            mosaic: list[Any] = [[*map(str, row), *["."] * (columns - len(row))] for row in places]
            panels = self.figure.subplot_mosaic(mosaic, height_ratios=tallest)
            for index, axes in panels.items():
                axes.set_gid(f"{self.key}-{index}")
                axes.set_label("")
            yield list(panels.values())

    def finish_layout(self, remark: str) -> None:
        """Write a remark below the panels and keep these, and the names of axes, where they are."""
        if remark:
            width = int(17.5 * self.figure.get_figwidth())  # characters
            wrapped = "\n".join(textwrap.fill(line, width) for line in remark.splitlines())
            text = self.figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=7.5, color=GREY)
            text.set_gid(f"{self.key}-remark")
        engine = self.figure.get_layout_engine()
        assert engine is not None, "a figure without a layout"
        engine.execute(self.figure)
        self.figure.set_layout_engine(None)  # "none" would draw twice for every file
        self.panels = self._measure_panels()
        # Names of axes keep their distance from the ticks, which is else measured for every file.
        pixels, whole = self.figure.bbox, self.figure.transFigure
        for axes in self.figure.axes:
            x, y = axes.xaxis.label.get_position()
            axes.xaxis.set_label_coords(x, y / pixels.height, blend(axes.transAxes, whole))
            x, y = axes.yaxis.label.get_position()
            axes.yaxis.set_label_coords(x / pixels.width, y, blend(whole, axes.transAxes))

    def finish(self, suffixes: Sequence[str]) -> Drawing:
        """Make files of these suffixes, .svg, .png or .pdf: equal figures are equal bytes."""
        files, svg = dict[str, bytes](), ""
        with _style(self.key):
            if ".svg" in suffixes:
                svg = self._svg(max(y + height for _, y, _, height in self.panels.values()))
                files[".svg"] = svg.encode("utf-8", "backslashreplace")
            if ".png" in suffixes:
                files[".png"] = self._png()
            if ".pdf" in suffixes:
                files[".pdf"] = self._pdf()
        texts = self.chart.name, self.chart.title, self.chart.metric, self.caption, self.alt
        return Drawing(*texts, self.parts, self.panels, files, inline_svg(svg) if svg else "")

    def _svg(self, bottom: float) -> str:
        """Draw the SVG, which tells where its panels end, in points."""
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        about = f'role="group" aria-label="{escape(self.alt)}" data-bottom="{bottom + 4:.0f}" '
        return name_marks(buffer.getvalue().replace("<svg ", f"<svg {about}", 1))

    def _png(self) -> bytes:
        """Draw a PNG with a palette: a third of the size, and no level off by more than a few."""
        canvas: Any = FigureCanvasAgg(self.figure)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        indexed = image.quantize(256, Image.Quantize.MAXCOVERAGE)
        about, buffer = PngInfo(), io.BytesIO()
        if self.alt:
            about.add_itxt("Description", self.alt)
        dpi = (self.figure.dpi, self.figure.dpi)
        indexed.save(buffer, "PNG", dpi=dpi, pnginfo=about)
        return buffer.getvalue()

    def _pdf(self) -> bytes:
        buffer = io.BytesIO()
        about = {"Subject": self.alt} if self.alt else {}
        self.figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, **about})
        return buffer.getvalue()

    def _measure_panels(self) -> dict[str, Place]:
        """Return the place of each panel, by which the page stacks them on a narrow screen."""
        height, scale = self.figure.bbox.height, 72 / self.figure.dpi
        found = {}
        for axes in self.figure.axes:
            if box := axes.get_tightbbox():
                corner = (box.x0, height - box.y1, box.width, box.height)
                x, y, width, high = (round(one * scale, 1) for one in corner)
                found[str(axes.get_gid())] = (x, y, width, high)
        return found


def _style(salt: str) -> AbstractContextManager[None]:
    """Apply our style whatever the user's matplotlibrc says, and restore the user's."""
    own = {**_STYLE, "svg.hashsalt": f"ssdd-bench {salt}"}
    return mpl_style.context(own, after_reset=True)
