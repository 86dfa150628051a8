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


@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float64])
def test_statistics_of_two_values(kind):
    """Mean 102 and deviations of 102, whose squares do not fit into the type of small values."""
    sums = ChannelSums.of(np.array([[[[0], [204]]], [[[0], [204]]]], kind))
    assert (sums.images, sums.count, type(sums.count)) == (2, 4, int)
    assert sums.sums.tolist() == [[408.0], [83232.0]]
    assert sums.stats(scale=51) == ChannelStats((2.0,), (2.0,))
    assert sums.stats() == ChannelStats((102.0,), (102.0,))
    two = ChannelSums.of(np.array([[[[0], [204]]]], kind))
    assert two.stats(ddof=1).std == pytest.approx((102 * 2**0.5,))
    assert ChannelSums.of(np.array([[[[7]]]], kind)).stats(ddof=1) == ChannelStats((7.0,), (0.0,))
