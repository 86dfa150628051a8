"""Files of figures: equal bytes for equal input, whatever the user's settings; safe in a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from ssdd_bench.errors import OutputError
from ssdd_bench.report.figures.draw import draw_panels
from ssdd_bench.report.figures.panel import Mark, Panel
from ssdd_bench.report.figures.style import COLORS, Drawing, Palette, inline_svg
from ssdd_bench.report.frame import to_frame
from ssdd_bench.results.schema import Result


def draw(label: str = "a", metric: str = "") -> Drawing:
    marks = (Mark(1, 20.0, "a", label=label), Mark(9, 22.0, "b", label="b", line="b"))
    panel = Panel(marks, "64 px", "28 images", "x", "y", higher=True, front=True)
    return draw_panels("figure", "A figure", [panel], Palette(("a", "b")), metric)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_input_gives_equal_bytes_and_leaves_no_trace(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    draw().save(paths[0])
    before = dict(mpl.rcParams)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)  # as a user's matplotlibrc may
    draw().save(paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    monkeypatch.undo()
    assert dict(mpl.rcParams) == before


def test_png_has_150_dots_per_inch(tmp_path: Path) -> None:
    with Image.open(draw().save(tmp_path / "a.png")) as image:
        assert image.info["dpi"][0] == pytest.approx(150, abs=0.1)
        assert np.asarray(image.convert("L")).std() > 5


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for suffix in ("png", "svg"):
        with pytest.raises(OutputError, match=f"a.{suffix}"):
            draw().save(tmp_path / "file" / f"a.{suffix}")


def test_a_name_from_outside_is_text_and_never_markup() -> None:
    evil = "--><script>alert(1)</script>$x_1$"
    inline = inline_svg(draw(evil).svg)
    assert "<script" not in inline
    assert "<!--" not in inline
    root = ElementTree.fromstring(inline.replace("xlink:", ""))
    assert evil in [text.text for text in root.iter("text")]


def test_two_figures_in_one_page_share_no_id() -> None:
    ids = [
        {node.get("id") for node in ElementTree.fromstring(svg.replace("xlink:", "")).iter()}
        for svg in (inline_svg(draw(metric=metric).svg) for metric in ("one", "two"))
    ]
    assert ids[0] & ids[1] == {None}


def test_a_family_has_one_colour_and_baselines_come_last(
    make_result: Callable[..., Result],
) -> None:
    results = [
        make_result("jpeg", role="codec"),
        make_result("klvae"),
        make_result("ssdd"),
        make_result("ssdd:f=16"),
    ]
    palette = Palette.of(to_frame(results))
    assert palette.families == ("klvae", "ssdd", "jpeg")
    assert [palette.color(family) for family in palette.families] == list(COLORS[:3])
    many = Palette(tuple(f"family-{i}" for i in range(14)))
    looks = [many.marker(family, "o") for family in many.families]
    assert len({(look["color"], look["markerfacecolor"]) for look in looks}) == 14
