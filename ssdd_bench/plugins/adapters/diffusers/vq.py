"""Adapter: diffusers' ``VQModel``, whose latents are indices into a codebook."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.plugins.adapters.diffusers.continuous import together


class VQAutoencoder(Tokenizer):
    """An encoder whose output is replaced by the nearest codes, and their decoder.

    Args:
        model: a ``VQModel`` in evaluation mode.
        f: pixels per code along one side.
        weights: files that it was loaded from.
    """

    def __init__(self, model: Any, f: int, weights: tuple[Path, ...]) -> None:
        self._model = model
        self._codes = model.config.num_vq_embeddings
        self.weights = weights
        self.latent = LatentSpec("discrete", f, 1, bits_per_value=math.log2(self._codes))

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return indices, int64 (B, 1, h, w); the encoder is deterministic."""
        h = self._model.encode((2 * images - 1).to(self._model.dtype)).latents
        indices = self._model.quantize(h)[2][2]
        data = indices.reshape(len(images), 1, *h.shape[-2:])
        return Latent(data, (images.shape[-2], images.shape[-1]))

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Look up the codes and decode them."""
        assert isinstance(latent.data, Tensor)
        model = self._model
        quantised = model.quantize.embedding(latent.data[:, 0]).permute(0, 3, 1, 2)
        spatial = quantised if model.config.norm_type == "spatial" else None
        decoded: Tensor = model.decoder(model.post_quant_conv(quantised), spatial)
        return (decoded.float() + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """Return both networks; the codebook is part of the decoder, which needs it."""
        model = self._model
        return {
            "encoder": together(model.encoder, model.quant_conv),
            "decoder": together(model.quantize, model.post_quant_conv, model.decoder),
        }

    def info(self) -> dict[str, Any]:
        """Return the class and the size of the codebook."""
        return {"class": type(self._model).__name__, "codebook_size": self._codes}
