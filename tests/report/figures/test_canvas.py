"""Files of figures: equal bytes for equal input, whatever the user's settings."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from ssdd_bench.report.figures.canvas import Canvas
from ssdd_bench.report.figures.chart import Chart, Mark, Panel
from ssdd_bench.report.figures.draw_panels import draw_panels
from ssdd_bench.report.figures.palette import Palette


def draw() -> Canvas:
    marks = (Mark(1, 20.0, "a", label="a"), Mark(9, 22.0, "b", label="b", line="b"))
    panel = Panel(marks, "64 px", "28 images", "x", "y", higher=True, corner=True)
    return draw_panels(Chart("figure", "A figure", (panel,)), Palette({"a": "x", "b": "y"}))


def open_png(canvas: Canvas) -> Image.Image:
    return Image.open(io.BytesIO(canvas.finish([".png"]).files[".png"]))


@pytest.mark.medium
def test_equal_input_gives_equal_bytes_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw().finish([".png", ".svg", ".pdf"])
    before = dict(mpl.rcParams)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)  # as a user's matplotlibrc may
    second = draw().finish([".png", ".svg", ".pdf"])
    assert set(first.files) == {".png", ".svg", ".pdf"}
    assert first == second
    monkeypatch.undo()
    assert dict(mpl.rcParams) == before


def test_only_what_is_asked_for_is_made() -> None:
    assert set(draw().finish([".svg"]).files) == {".svg"}
    picture = draw().finish([".png"])
    assert (set(picture.files), picture.inline) == ({".png"}, "")


@pytest.mark.medium
def test_a_png_has_a_palette_and_looks_the_same() -> None:
    canvas = draw()
    buffer = io.BytesIO()
    canvas.figure.savefig(buffer, format="png")
    with Image.open(buffer) as whole, open_png(canvas) as image:
        assert image.mode == "P"
        pair = [np.asarray(one.convert("RGB"), int) for one in (whole, image)]
    assert np.abs(pair[0] - pair[1]).max() <= 4  # of 255
    assert pair[1][0, 0].tolist() == [255, 255, 255]


@pytest.mark.medium
def test_png_has_150_dots_per_inch() -> None:
    with open_png(draw()) as image:
        assert image.info["dpi"][0] == pytest.approx(150, abs=0.1)
        assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.medium
def test_alternative_texts_are_in_the_files() -> None:
    canvas = draw()
    canvas.alt += ' "<b> & c"'
    drawing = canvas.finish([".svg"])
    assert ElementTree.fromstring(drawing.files[".svg"].decode()).get("aria-label") == canvas.alt
    assert 'role="group"' in drawing.inline
    with open_png(canvas) as image:
        assert image.info["Description"] == canvas.alt
