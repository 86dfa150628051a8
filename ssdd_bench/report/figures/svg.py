"""SVG files of figures: ids of their marks, and what of them a page takes in."""

from __future__ import annotations

import re
import zlib
from typing import Final

from ssdd_bench.report.figures.palette import GREY, GRID, INK, PAPER, SHADE

_VARIABLES: Final = {INK: "ink", GREY: "soft", GRID: "faint", SHADE: "panel", PAPER: "paper"}


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
    style, for light and dark; its background is the page's. The remark below its panels is cut
    off: the page has it as the caption.
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
    body = body.replace('style="fill: var(--paper)"', 'style="fill: none"')
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
    key = f"s{zlib.crc32(body.encode()):x}-"
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
