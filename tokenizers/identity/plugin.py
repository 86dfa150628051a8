"""Adapter: the pixels are the latent."""

from __future__ import annotations

from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.api.pixels import round_to_uint8


class Identity(Tokenizer):
    """Keeps the 8-bit pixels."""

    latent = LatentSpec("discrete", f=1, channels=3, bits_per_value=8)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Round to the 256 levels that the images came from."""
        return Latent(round_to_uint8(images), (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Return the same pixels."""
        assert isinstance(latent.data, Tensor)
        return latent.data.float() / 255


def load() -> Identity:
    """Make the tokenizer; there is nothing to load."""
    return Identity()
