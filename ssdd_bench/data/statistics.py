"""Mean and standard deviation by channel, of latents and of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import UserError, counted


@dataclass(frozen=True)
class ChannelStats:
    """Mean and standard deviation of every channel over a data set.

    A network of latents sees ``(z - mean) / std``; its samples are mapped back before decoding.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, latents: Tensor) -> Tensor:
        """Map (B, channels, h, w) to mean 0 and standard deviation 1."""
        mean, std = self._like(latents)
        return (latents - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Map normalised latents (B, channels, h, w) back to those that the tokenizer decodes."""
        mean, std = self._like(latents)
        return latents * std + mean

    def _like(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        if latents.shape[1] != len(self.mean):
            raise UserError(
                f"latents have {counted(latents.shape[1], 'channel')}, the statistics "
                f"{len(self.mean)}: use the statistics that were stored with these latents"
            )
        mean, std = (latents.new_tensor(one).view(1, -1, 1, 1) for one in (self.mean, self.std))
        return mean, std


@dataclass(frozen=True)
class ChannelSums:
    """Running sums from which :class:`ChannelStats` are computed; those of two sets add up.

    Attributes:
        images: number of images.
        count: values per channel.
        sums: of the values and of their squares, float64 (2, channels).
    """

    images: int
    count: int
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating] | NDArray[np.uint8]) -> ChannelSums:
        """Sum a batch (B, channels, h, w)."""
        wide = values.astype(np.float64)
        sums = np.stack([wide.sum((0, 2, 3)), (wide**2).sum((0, 2, 3))])
        return cls(len(wide), wide.size // wide.shape[1], sums)

    def __add__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(
            self.images + other.images, self.count + other.count, self.sums + other.sums
        )

    def stats(self, scale: float = 1.0, ddof: int = 0) -> ChannelStats:
        """Compute the statistics.

        Args:
            scale: divisor of the values: 255 maps uint8 images to [0, 1].
            ddof: 1 for the unbiased variance.
        """
        mean = self.sums[0] / self.count
        variance = (self.sums[1] - self.count * mean**2) / max(self.count - ddof, 1)
        std = np.sqrt(np.maximum(variance, 0))
        return ChannelStats(tuple((mean / scale).tolist()), tuple((std / scale).tolist()))
