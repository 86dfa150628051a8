"""Rounding to the pixels that every metric sees."""

import pytest
import torch

from ssdd_bench.api.pixels import round_to_uint8, to_uint8
from ssdd_bench.errors import PluginError


def test_every_level_survives_the_round_trip_through_minus_one_to_one():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    there = levels.float() / 127.5 - 1
    assert torch.equal(to_uint8((there + 1) / 2, ["x"]), levels)
    truncated = ((there + 1) / 2 * 255).to(torch.uint8)
    assert (truncated != levels).sum() > 30  # the known mistake


def test_clamped_before_rounding():
    out = to_uint8(torch.tensor([[[[-0.2, 1.3, 0.5]]]]), ["x"])
    assert out.flatten().tolist() == [0, 255, 128]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_by_the_name_of_the_image(bad):
    images = torch.zeros(6, 3, 2, 2)
    images[1:, 0, 0, 0] = bad
    with pytest.raises(PluginError) as caught:
        to_uint8(images, list("abcdef"))
    assert " b, c, d and 2 more" in str(caught.value)
    assert to_uint8(images[:1], ["a"]).sum() == 0


def test_half_precision_is_rounded_in_float32():
    """Rounding in bfloat16 itself would not tell 255 levels apart."""
    levels = torch.arange(256) / 255
    found = round_to_uint8(levels.bfloat16())
    assert torch.equal(found, round_to_uint8(levels.bfloat16().float()))
    assert found.dtype == torch.uint8
