"""Files of figures: equal bytes for equal input, whatever the user's settings; safe in a page."""

from __future__ import annotations

import io
import re
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
from ssdd_bench.report.figures.style import (
    FAMILY_COLORS,
    GREY,
    HUES,
    INK,
    PAPER,
    Drawing,
    Palette,
    inline_svg,
)
from ssdd_bench.report.frame import to_frame
from ssdd_bench.results.schema import Result


def draw(label: str = "a", metric: str = "") -> Drawing:
    marks = (Mark(1, 20.0, "a", label=label), Mark(9, 22.0, "b", label="b", line="b"))
    panel = Panel(marks, "64 px", "28 images", "x", "y", higher=True, corner=True)
    return draw_panels("figure", "A figure", [panel], Palette({"a": "x", "b": "y"}), metric)


@pytest.mark.medium
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


@pytest.mark.medium
def test_a_png_has_a_palette_and_looks_the_same(tmp_path: Path) -> None:
    drawing = draw()
    buffer = io.BytesIO()
    drawing.figure.savefig(buffer, format="png")
    with Image.open(buffer) as whole, Image.open(drawing.save(tmp_path / "a.png")) as image:
        assert image.mode == "P"
        pair = [np.asarray(one.convert("RGB"), int) for one in (whole, image)]
    assert np.abs(pair[0] - pair[1]).max() <= 4  # of 255
    assert pair[1][0, 0].tolist() == [255, 255, 255]


@pytest.mark.medium
def test_png_has_150_dots_per_inch(tmp_path: Path) -> None:
    with Image.open(draw().save(tmp_path / "a.png")) as image:
        assert image.info["dpi"][0] == pytest.approx(150, abs=0.1)
        assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.medium
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


def test_coordinates_are_short_in_a_page_and_texts_stay() -> None:
    svg = draw("0.12345").svg
    assert re.search(r' d="[^"]*\.\d{3}', svg)
    inline = inline_svg(svg)
    assert not re.search(r' (d|x|y)="[^"]*\.\d{3}', inline)
    assert ">0.12345<" in inline
    assert len(inline) < 0.8 * len(svg)


@pytest.mark.medium
def test_two_figures_in_one_page_share_no_id() -> None:
    ids = [
        {node.get("id") for node in ElementTree.fromstring(svg.replace("xlink:", "")).iter()}
        for svg in (inline_svg(draw(metric=metric).svg) for metric in ("one", "two"))
    ]
    assert ids[0] & ids[1] == {None}


def test_a_colour_depends_on_family_and_id_alone(make_result: Callable[..., Result]) -> None:
    codec = make_result("jpeg", role="codec", family="codec")
    ours = [make_result("ssdd", family="kl-vae"), make_result("diffusion", family="kl-vae")]
    other = make_result("klvae", family="unheard of")
    palettes = [
        Palette.of(to_frame(results)) for results in ([codec, *ours, other], [ours[0], codec])
    ]
    assert palettes[0].families == ("diffusion", "ssdd", "klvae", "jpeg")  # baselines last
    for name in palettes[1].families:
        assert palettes[0].color(name) == palettes[1].color(name)
    assert palettes[0].color("ssdd") == FAMILY_COLORS["kl-vae"]
    assert len({palettes[0].color(name) for name in palettes[0].families}) == 4
    assert palettes[0].color("not there") == GREY


def luminance(color: str) -> float:
    """Relative luminance by WCAG 2.1."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("paper", ["#FFFFFF", "#14171A"])
def test_hues_are_seen_on_light_and_on_dark_paper(paper: str) -> None:
    for hue in {*HUES, *FAMILY_COLORS.values()}:
        low, high = sorted([luminance(hue), luminance(paper)])
        assert (high + 0.05) / (low + 0.05) > 2, hue


@pytest.mark.medium
def test_the_page_chooses_ink_and_paper(make_result: Callable[..., Result]) -> None:
    inline = inline_svg(draw().svg)
    for color, variable in ((INK, "ink"), (PAPER, "paper"), (GREY, "soft")):
        assert color.lower() not in inline.lower()
        assert f"var(--{variable})" in inline


@pytest.mark.medium
def test_alternative_texts_are_in_the_files(tmp_path: Path) -> None:
    drawing = draw()
    drawing.alt += ' "<b> & c"'
    assert ElementTree.fromstring(drawing.svg).get("aria-label") == drawing.alt
    assert 'role="group"' in inline_svg(drawing.svg)
    with Image.open(drawing.save(tmp_path / "a.png")) as image:
        assert image.info["Description"] == drawing.alt
