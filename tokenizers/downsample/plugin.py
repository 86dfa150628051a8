"""Adapter: Pillow's bicubic filter, which widens with the factor and so does not alias."""

from __future__ import annotations

from PIL.Image import Resampling
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.api.pixels import round_to_uint8
from ssdd_bench.plugins.adapters.pillow import from_pillow, to_pillow


class Downsample(Tokenizer):
    """Keeps one 8-bit pixel of every ``factor`` x ``factor`` pixels."""

    def __init__(self, factor: int) -> None:
        self.latent = LatentSpec("discrete", f=factor, channels=3, bits_per_value=8)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Shrink; Pillow rounds to 8 bits."""
        height, width = images.shape[-2:]
        small = self._resize(
            round_to_uint8(images), height // self.latent.f, width // self.latent.f
        )
        return Latent(small, (height, width))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Enlarge to the old size, on the CPU."""
        assert isinstance(latent.data, Tensor)
        return self._resize(latent.data, *latent.size).float() / 255

    def _resize(self, levels: Tensor, height: int, width: int) -> Tensor:
        images = [im.resize((width, height), Resampling.BICUBIC) for im in to_pillow(levels)]
        return from_pillow(images)


def load(factor: int) -> Downsample:
    """Make the tokenizer; the manifest explains the option."""
    return Downsample(factor)
