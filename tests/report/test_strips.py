"""Strips of one photo of the two tokenizers of the headline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.report.headline import find_headline
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.strips import cut_strips


@pytest.mark.medium
def test_strips_are_crops_of_the_saved_pictures(write_run: Callable[..., Path]) -> None:
    scores = {"ssdd": [30.0, 22.0, 25.0, 24.0], "klvae": [29.0, 20.0, 20.0, 22.5]}
    source = load_source([write_run(scores)])
    headline = find_headline(source.pooled)
    assert headline is not None
    strips = cut_strips(source, headline)
    assert strips is not None
    # Differences of 1, 2, 5 and 1.5: the second is nearest to their mean, 2.375.
    assert strips.photo == "photo-1.jpg"
    assert list(strips.crops) == ["original", "klvae", "ssdd"]
    assert len(set(strips.crops.values())) == 3
    assert 0 <= min(strips.left, strips.top) <= max(strips.left, strips.top) <= 24
    bare = replace(source, pictures={})
    assert cut_strips(bare, headline) is None
