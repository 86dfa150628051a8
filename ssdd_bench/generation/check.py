"""Warnings about samples whose latents were scaled by the wrong statistics.

Forgetting to map latents back, or using another set's statistics, ruins every score and raises no
error. It does show in the colours of the decoded images and in the spread of the latents.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.data.statistics import ChannelStats, ChannelSums

LEAST_SAMPLES = 16
LATENT_OFFSET = 0.5  # in standard deviations of the training latents
LATENT_RATIO = 1.6
COLOUR_OFFSET = 0.12  # of the range of colours
COLOUR_RATIO = 1.5


def check_latents(latents: ChannelSums) -> Iterator[str]:
    """Warn of sampled latents, in the network's space, far from its training set: N(0, 1)."""
    if latents.images < LEAST_SAMPLES:
        return
    found = latents.stats()
    offset, ratio = float(np.abs(found.mean).max()), _worst_ratio(np.array(found.std))
    if offset > LATENT_OFFSET or ratio > LATENT_RATIO:
        yield (
            f"sampled latents differ from the training set's: the mean of a channel by "
            f"{offset:.2f}, its standard deviation by a factor of {ratio:.2f}; the network is "
            "undertrained, guided too strongly, or was trained on latents of another scale"
        )


def check_colours(decoded: ChannelSums, expected: ChannelStats | None) -> Iterator[str]:
    """Warn of decoded samples, uint8, far from the colours of the training images."""
    if decoded.images < LEAST_SAMPLES or expected is None:
        return
    found = decoded.stats(scale=255)
    offset = float(np.abs(np.subtract(found.mean, expected.mean)).max())
    ratio = _worst_ratio(np.divide(found.std, expected.std))
    if offset > COLOUR_OFFSET or ratio > COLOUR_RATIO:
        yield (
            f"decoded samples differ from the training images: the mean colour by {offset:.2f} "
            f"of the range, the contrast by a factor of {ratio:.2f}; latents may be scaled by the "
            "wrong statistics, or the network is undertrained"
        )


def _worst_ratio(ratios: NDArray[np.float64]) -> float:
    safe = np.maximum(ratios, 1e-6)
    return float(np.maximum(safe, 1 / safe).max())
