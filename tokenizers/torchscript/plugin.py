"""Adapter: two exported programs whose latent is learned from a blank image."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import WeightsError

from .programs import OnnxProgram, Program, TorchScriptProgram


class ExportedTokenizer(Tokenizer):
    """An encoder and a decoder of which only the tensors that go in and out are known.

    Args:
        encoder: images to latents or codes.
        decoder: the other way.
        low: 0.0 or -1.0, where the images' range starts; it ends at 1.
        codes: size of the codebook; 0 for continuous latents.
        size: side in px of the blank image.

    Raises:
        WeightsError: what the encoder gives is no latent, or not of the kind that was stated.
    """

    def __init__(
        self, encoder: Program, decoder: Program, low: float, codes: int, size: int
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._low = low
        self._discrete = bool(codes)
        self.weights = (encoder.path, decoder.path)
        data = self._encode(torch.zeros(1, 3, size, size))
        if data.is_floating_point() == self._discrete:
            raise WeightsError(
                f"{encoder.path}: gives {data.dtype}: "
                + ("leave codes out" if self._discrete else "give codes=N, its codebook's size")
            )
        if data.ndim != 4 or size % data.shape[-1]:
            raise WeightsError(f"{encoder.path}: gives shape {tuple(data.shape)} for {size} px")
        self.latent = LatentSpec(
            "discrete" if codes else "continuous",
            f=size // data.shape[-1],
            channels=data.shape[1],
            bits_per_value=math.log2(codes) if codes else None,
        )

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Whatever the program gives; there is nothing to sample."""
        return Latent(self._encode(images), (images.shape[-2], images.shape[-1]))

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Run the decoder on what the encoder gave."""
        assert isinstance(latent.data, Tensor)
        codes = self._discrete and not self._has_channels
        decoded = self._decoder(latent.data[:, 0] if codes else latent.data)
        return (decoded.float() - self._low) / (1 - self._low)

    def networks(self) -> dict[str, nn.Module]:
        """TorchScript modules; none for ONNX, which stays on the CPU."""
        both = {"encoder": self._encoder.module, "decoder": self._decoder.module}
        return {role: module for role, module in both.items() if module is not None}

    def info(self) -> dict[str, Any]:
        """The range of the images, which the programs do not state."""
        return {"pixels": f"{self._low:g}..1"}

    def _encode(self, images: Tensor) -> Tensor:
        data = self._encoder(images * (1 - self._low) + self._low)
        self._has_channels = data.ndim == 4
        if not self._has_channels and data.ndim == 3:
            data = data[:, None]
        return data.float() if data.is_floating_point() else data.long()


def load(
    encoder: str, decoder: str, pixels: str, codes: int, size: int, model: str
) -> ExportedTokenizer:
    """Load two programs; the manifest explains the options.

    Raises:
        WeightsError: a file is missing or damaged, or is not what was stated.
    """
    name = model or "torchscript"
    if not encoder or not decoder:
        raise WeightsError(f"{name}: give both files: {name}:encoder=FILE,decoder=FILE")
    program = OnnxProgram if model == "onnx" else TorchScriptProgram
    low = float(pixels.partition("..")[0])
    return ExportedTokenizer(program(encoder), program(decoder), low, codes, size)
