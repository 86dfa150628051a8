"""SVG in a page: safe, short, with ids of its own and the page's colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ssdd_bench.report.figures.chart import Boxes, Chart, Distributions, Mark, Panel, Spread
from ssdd_bench.report.figures.draw import draw
from ssdd_bench.report.figures.palette import GREY, INK, PAPER, Palette
from ssdd_bench.report.figures.svg import inline_svg


def draw_svg(label: str = "a", metric: str = "") -> str:
    marks = (Mark(1, 20.0, "a", label=label), Mark(9, 22.0, "b", label="b", line="b"))
    panel = Panel(marks, "64 px", ("28 images",), "x", "y", higher=True, corner=True)
    chart = Chart("figure", "A figure", (panel,), metric)
    return draw(chart, Palette({"a": "x", "b": "y"}), [".svg"]).files[".svg"].decode()


def test_a_name_from_outside_is_text_and_never_markup() -> None:
    evil = "--><script>alert(1)</script>$x_1$"
    inline = inline_svg(draw_svg(evil))
    assert "<script" not in inline
    assert "<!--" not in inline
    root = ElementTree.fromstring(inline.replace("xlink:", ""))
    assert evil in [text.text for text in root.iter("text")]


def test_coordinates_are_short_in_a_page_and_texts_stay() -> None:
    svg = draw_svg("0.12345")
    assert re.search(r' d="[^"]*\.\d{3}', svg)
    inline = inline_svg(svg)
    assert not re.search(r' (d|x|y)="[^"]*\.\d{3}', inline)
    assert ">0.12345<" in inline
    assert len(inline) < 0.8 * len(svg)


@pytest.mark.medium
def test_two_figures_in_one_page_share_no_id() -> None:
    ids = [
        {node.get("id") for node in ElementTree.fromstring(svg.replace("xlink:", "")).iter()}
        for svg in (inline_svg(draw_svg(metric=metric)) for metric in ("one", "two"))
    ]
    assert ids[0] & ids[1] == {None}


@pytest.mark.medium
def test_scores_of_single_images_have_colours_of_tokenizers_and_of_the_page_alone() -> None:
    values = np.linspace(20, 30, 5)
    row = Spread("a", "a", values, (20.0, 22.5, 25.0, 27.5, 30.0), "")
    chart = Distributions("f", "A figure", (Boxes("64 px", "PSNR", (row,)),), "28 images.", "")
    palette = Palette({"a": "x"})
    inline = draw(chart, palette, [".svg"]).inline
    assert set(re.findall("#[0-9a-f]{6}", inline.lower())) == {palette.color("a").lower()}


@pytest.mark.medium
def test_the_page_chooses_ink_and_paper() -> None:
    inline = inline_svg(draw_svg())
    for color, variable in ((INK, "ink"), (PAPER, "paper"), (GREY, "soft")):
        assert color.lower() not in inline.lower()
        assert f"var(--{variable})" in inline
    assert '"fill: var(--paper)"' not in inline, "a background"
    assert "{fill: var(--paper)}" not in inline, "a background"
