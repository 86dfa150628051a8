"""Style that all figures share: colours, markers, and how a figure becomes a file.

Figures are built without pyplot, so nothing global changes, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ssdd_bench.report.ranking import is_baseline
from ssdd_bench.results.files import write_atomically, write_text

# Hues of Okabe and Ito, told apart by every kind of colour vision; yellow is too pale on white.
HUES: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FAMILY_COLORS: Final = {
    "kl-vae": "#0072B2",
    "diffusion decoder": "#D55E00",
    "tiny autoencoder": "#009E73",
    "deep compression": "#CC79A7",
    "vq": "#E69F00",
    "representation autoencoder": "#56B4E9",
    "codec": "#7F7F7F",
    "control": "#B0B0B0",
}
"""Colours by the family that a result records. A family that is not here takes one of ``HUES`` by
its name."""
SHADES: Final = (("#FFFFFF", 0.0), ("#FFFFFF", 0.4), ("#000000", 0.3))  # mixed in, how much
INK: Final = "#1B1F23"
GREY: Final = "#666666"
GRID: Final = "#EBEBEB"
SHADE: Final = "#F3F3F3"  # area behind the front
PAPER: Final = "#FFFFFF"  # around marks
_WIDTH: Final = 8.4  # inches at most; the README shows them as 840 px
_UNDATED: Final[dict[str, dict[str, Any]]] = {
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
_ABOUT: Final = {".png": "Description", ".pdf": "Subject"}  # key of the alternative text
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


_VARIABLES: Final = {INK: "ink", GREY: "soft", GRID: "faint", SHADE: "panel", PAPER: "paper"}


@dataclass(frozen=True)
class Palette:
    """One colour for each tokenizer, the same in every figure of every report.

    The hue comes from the family that the results record, the shade from the tokenizer's id, so
    that neither depends on what else a report shows. Other ids may share hue and shade.

    Attributes:
        family_of: recorded family by id of the tokenizer, in the order of the legend.
    """

    family_of: Mapping[str, str]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Palette:
        """Collect the tokenizers of a frame, by family, baselines last."""
        baselines = is_baseline(frame)
        rows = sorted(zip(baselines, frame["family"], frame["id"], strict=True))
        return cls({name: family for _, family, name in rows})

    @property
    def families(self) -> tuple[str, ...]:
        """Ids of the tokenizers."""
        return tuple(self.family_of)

    def color(self, family: str) -> str:
        """Return the colour of a tokenizer; grey if it is not one of the palette."""
        if family not in self.family_of:
            return GREY
        name = self.family_of[family]
        hue = FAMILY_COLORS.get(name) or HUES[_number(name) % len(HUES)]
        other, share = SHADES[_number(family) % len(SHADES)]
        mixed = (
            round((1 - share) * int(hue[i : i + 2], 16) + share * int(other[i : i + 2], 16))
            for i in (1, 3, 5)
        )
        return "#" + "".join(f"{one:02X}" for one in mixed)

    def marker(self, family: str, marker: str, *, front: bool = False) -> dict[str, Any]:
        """Return the style of a tokenizer's marker, with a dark edge for those on a front."""
        return {
            "color": self.color(family),
            "marker": marker,
            "markersize": 7,
            "markeredgecolor": INK if front else PAPER,
            "markeredgewidth": 1.3 if front else 0.8,
            "linestyle": "none",
        }


def _number(text: str) -> int:
    """Hash a text, alike on every machine."""
    return zlib.crc32(text.encode())


@dataclass
class Drawing:
    """A figure and its interactive parts."""

    name: str  # stem of its files
    title: str  # heading on the page
    metric: str = ""  # that it shows, where a report has such a figure for each
    caption: str = ""  # images, protocol, machine, and how to read it
    alt: str = ""  # what it shows, for those who do not see it
    figure: Figure = field(init=False)
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)  # family and hover text by id

    @property
    def key(self) -> str:
        """Prefix of the ids in its SVG."""
        return f"{self.name}-{self.metric}" if self.metric else self.name

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
        """Write a remark below the panels and keep these where they are now."""
        if remark:
            width = int(17.5 * self.figure.get_figwidth())  # characters
            wrapped = "\n".join(textwrap.fill(line, width) for line in remark.splitlines())
            text = self.figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=7.5, color=GREY)
            text.set_gid(f"{self.key}-remark")
        engine = self.figure.get_layout_engine()
        assert engine is not None, "a figure without a layout"
        engine.execute(self.figure)
        self.figure.set_layout_engine(None)  # "none" would draw twice for every file

    def save(self, path: Path) -> Path:
        """Write a .png, .svg or .pdf without dates: equal figures are equal bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        if path.suffix == ".svg":
            return write_text(path, self.svg)
        with _style(self.key):
            about = {_ABOUT[path.suffix]: self.alt} if self.alt else {}
            if path.suffix == ".png":
                write_atomically(path, partial(self._save_indexed, about))
            else:
                save = partial(self.figure.savefig, metadata={**_UNDATED[path.suffix], **about})
                write_atomically(path, partial(save, format=path.suffix[1:]))
        return path

    def _save_indexed(self, about: Mapping[str, str], path: Path) -> None:
        """Write a PNG with a palette: a third of the size, and no level off by more than a few."""
        canvas: Any = FigureCanvasAgg(self.figure)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        texts = PngInfo()
        for key, text in about.items():
            texts.add_itxt(key, text)
        dpi = (self.figure.dpi, self.figure.dpi)
        indexed = image.quantize(256, Image.Quantize.MAXCOVERAGE)
        indexed.save(path, "PNG", optimize=True, dpi=dpi, pnginfo=texts)

    @cached_property
    def svg(self) -> str:
        """Text of the SVG file."""
        buffer = io.StringIO()
        with _style(self.key):
            self.figure.savefig(buffer, format="svg", metadata=_UNDATED[".svg"])
        bottom = max(y + height for _, y, _, height in self.panels.values())
        about = f'role="group" aria-label="{escape(self.alt)}" data-bottom="{bottom + 4:.0f}" '
        return name_marks(buffer.getvalue().replace("<svg ", f"<svg {about}", 1))

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


def name_marks(svg: str) -> str:
    """Give each mark of a line its id, where the line has those of all its marks."""

    def name(line: re.Match[str]) -> str:
        before, *marks = line[2].split("<use ")
        named = zip(line[1].split(" "), marks, strict=True)
        return "<g>" + before + "".join(f'<use id="{one}" {mark}' for one, mark in named)

    return re.sub(r'<g id="([^" ]+(?: [^" ]+)+)">(.*?</g>)', name, svg, flags=re.DOTALL)


def inline_svg(svg: str) -> str:
    """Make an SVG file part of a page: drop its prologue, size, comments and numbered ids.

    Coordinates keep two decimals. Its ink, paper and greys become the variables of the page's
    style, for light and dark. The remark below its panels is cut off: the page has it as the
    caption.
    """
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    about = re.search(r'(role="group" aria-label="[^"]*") data-bottom="(\d+)"', svg)
    assert view is not None, "an SVG file without a view box"
    assert about is not None, "an SVG file without an alternative text"
    style = f"width: {1.6 * float(view[1]):.0f}px; max-width: 100%"  # one size of text
    body = svg[svg.index(">", view.end()) + 1 :]
    body = re.sub(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->", "", body, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        body = re.sub(rf"(?<=[ ;:\"]){color}\b", f"var(--{variable})", body, flags=re.IGNORECASE)
    body = re.sub(
        r' transform="rotate\(-0 [^"]*"|font-family: \'DejaVu Sans\'; |\n\s+(?=<)', "", body
    )
    body = re.sub(r' (?:d|x|y|points|transform)="[^"]*"', _shorten, body)
    head = f'<svg viewBox="0 0 {view[1]} {about[2]}" {about[1]} style="{style}">'
    return head + _share_styles(re.sub(r' id="[\w.]+_\d+"', "", body))


def _share_styles(body: str) -> str:
    """Write the styles that several elements have once, under names of this figure alone."""
    found = re.findall(r' style="([^"]*)"', body)
    several = [style for style in dict.fromkeys(found) if found.count(style) > 1]
    key = f"s{_number(body):x}-"
    names = {style: f"{key}{place}" for place, style in enumerate(several)}
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    body = re.sub(
        r' style="([^"]*)"',
        lambda one: f' class="{names[one[1]]}"' if one[1] in names else one[0],
        body,
    )
    return f"<style>{rules}</style>{body}"


def _shorten(attribute: re.Match[str]) -> str:
    """Round the coordinates of an attribute down to hundredths of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])


def _style(salt: str) -> AbstractContextManager[None]:
    """Apply our style whatever the user's matplotlibrc says, and restore the user's."""
    own = {**_STYLE, "svg.hashsalt": f"ssdd-bench {salt}"}
    return mpl_style.context(own, after_reset=True)
