"""Autoencoders of diffusers as tokenizers. Imports no diffusers: models are told by their class."""

from ssdd_bench.plugins.adapters.diffusers.adapt import (
    CLASSES,
    from_diffusers,
    is_diffusers_autoencoder,
)

__all__ = ["CLASSES", "from_diffusers", "is_diffusers_autoencoder"]
