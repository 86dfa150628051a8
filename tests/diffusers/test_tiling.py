"""Blending: exact for a map that tiles compute equally, smooth where they disagree."""

import pytest
import torch

from ssdd_bench.diffusers.tiling import Tiling
from ssdd_bench.errors import OptionError


@pytest.mark.parametrize("grid", [(16, 16), (9, 16), (3, 23), (4, 4), (2, 3)])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_local_map_is_the_same_with_tiles(grid, scale):
    whole = torch.randn(2, 3, grid[0] * scale, grid[1] * scale)
    sides = []

    def compute(rows, columns):
        sides.append((rows.stop - rows.start, columns.stop - columns.start))
        top, left = rows.start * scale, columns.start * scale
        return whole[..., top : rows.stop * scale, left : columns.stop * scale]

    torch.testing.assert_close(Tiling(4, 0.25).blend(compute, grid, 1, scale), whole)
    assert set(sides) == {(min(grid[0], 4), min(grid[1], 4))}  # no narrow strip at the end


def test_disagreeing_tiles_are_blended_without_a_seam():
    values = iter([0.0, 1.0, 2.0])
    blended = Tiling(1, 0).blend(lambda *_: torch.full((1, 1, 8, 8), next(values)), (1, 2), 1, 8)
    assert blended[0, 0, 0].diff().max() == 1  # without an overlap there is a seam
    values = iter([0.0, 1.0, 2.0])
    blended = Tiling(8, 0.5).blend(
        lambda rows, columns: torch.full((1, 1, 4, 32), next(values)), (1, 16), 1, 4
    )[0, 0, 0]
    assert (blended[0], blended[-1]) == (0, 2)
    assert 0 < blended.diff().max() < 0.15
    assert blended.diff().min() >= 0


@pytest.mark.parametrize(
    ("tiling", "message"),
    [(Tiling(100), "tile is 100 px.*16"), (Tiling(0), "tile is 0"), (Tiling(64, 0.9), "0.9")],
)
def test_values_out_of_range(tiling, message):
    Tiling(64, 0.5).check(16)
    with pytest.raises(OptionError, match=message):
        tiling.check(16)
