"""Noise keyed by seed and image."""

import pytest
import torch

from ssdd_bench.api.noise import KeyedNoise


def test_noise_of_an_image_needs_no_other_image():
    together = KeyedNoise(0, ["a", "b", "c"], "decode").normal((2, 3))
    alone = KeyedNoise(0, ["c"], "decode").normal((2, 3))
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(together[0], together[1])
    other_stream = KeyedNoise(0, ["c"], "encode").normal((2, 3))
    assert not torch.equal(other_stream, alone)


def test_noise_is_standard_normal_and_goes_on():
    noise = KeyedNoise(3, [str(n) for n in range(64)], "decode")
    first, second = noise.normal((64, 64)), noise.normal((64, 64))
    assert first.mean().item() == pytest.approx(0, abs=0.01)
    assert first.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 0.01
