"""Statistics by channel against numpy, in one go and in pieces."""

import numpy as np
import pytest
import torch

from ssdd_bench.data.statistics import ChannelStats, ChannelSums
from ssdd_bench.errors import UserError


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(7, 3, 4, 5)) * [[[[2.0]], [[0.1]], [[1.0]]]] + 3).astype(np.float32)


def test_sums_of_pieces_give_the_statistics_of_the_whole(values):
    sums = ChannelSums.of(values[:2]) + ChannelSums.of(values[2:])
    assert (sums.images, sums.count) == (7, 7 * 20)
    by_channel = values.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    found = sums.stats()
    np.testing.assert_allclose(found.mean, by_channel.mean(1))
    np.testing.assert_allclose(found.std, by_channel.std(1), rtol=1e-6)
    np.testing.assert_allclose(sums.stats(ddof=1).std, by_channel.std(1, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(sums.stats(scale=255).std, by_channel.std(1) / 255, rtol=1e-6)


def test_a_constant_channel_has_no_spread():
    assert ChannelSums.of(np.full((2, 1, 3, 3), 0.1)).stats().std == pytest.approx((0.0,), abs=1e-7)


def test_normalising_is_undone(values):
    stats = ChannelSums.of(values).stats()
    latents = torch.from_numpy(values)
    normal = stats.normalise(latents)
    assert normal.mean((0, 2, 3)).abs().max() < 1e-5
    assert normal.std((0, 2, 3), correction=0).sub(1).abs().max() < 1e-5
    torch.testing.assert_close(stats.denormalise(normal), latents)
    with pytest.raises(UserError, match="3 channels, the statistics 2"):
        ChannelStats((0.0, 0.0), (1.0, 1.0)).normalise(latents)
