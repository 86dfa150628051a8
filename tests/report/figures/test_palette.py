"""Colours: of a tokenizer alone, told apart on light and on dark paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ssdd_bench.report.figures.palette import FAMILY_COLORS, GREY, HUES, Palette
from ssdd_bench.report.frame import to_frame
from ssdd_bench.results.schema import Result


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
