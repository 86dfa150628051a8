"""Published numbers in a figure of their own, in grey."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.report.figures.published import draw_published
from ssdd_bench.report.figures.style import GREY
from ssdd_bench.report.published import load_published

ROOT = Path(__file__).parents[3]


def test_published_marks_are_grey_and_belong_to_no_family() -> None:
    files = load_published(ROOT / "results" / "published")
    drawing = draw_published([row for file in files.values() for row in file.rows])
    assert drawing is not None
    assert {family for family, _ in drawing.parts.values()} == {""}
    (axes,) = drawing.figure.axes
    assert {str(line.get_color()) for line in axes.get_lines()} <= {GREY, "0.6"}
    words = axes.get_title("left") + " ".join(text.get_text() for text in drawing.figure.texts)
    words += drawing.figure.get_supxlabel()
    for piece in ("not measured here", "digitised", "hardware not stated"):
        assert piece in words
    assert draw_published([]) is None
