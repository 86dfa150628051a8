"""Adapter: two exported programs, whose latent's shape is found by encoding a blank image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssdd_bench.api import LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.functions import from_functions

from .programs import OnnxProgram, TorchScriptProgram


def load(encoder: str, decoder: str, pixels: str, codes: int, size: int, model: str) -> Tokenizer:
    """Load two programs; the manifest explains the options.

    Raises:
        WeightsError: a file is missing or damaged, or its latents are not what was stated.
    """
    name = model or "torchscript"
    if not encoder or not decoder:
        raise WeightsError(f"{name} needs two files. Pass {name}:encoder=FILE,decoder=FILE")
    kind = OnnxProgram if model == "onnx" else TorchScriptProgram
    encoding, decoding = kind(encoder), kind(decoder)
    low = float(pixels.partition("..")[0])

    def run_encoder(images: Tensor) -> Tensor:
        return encoding(images * (1 - low) + low)

    height, width = encoding.sides or (size, size)
    blank = run_encoder(torch.zeros(1, 3, height, width))
    latent = _describe(encoder, _as_grid(blank), codes, width)

    def decode(latents: Tensor, noise: Noise | None = None) -> Tensor:
        given = [latents.flatten(0, 4 - blank.ndim)]
        if noise is not None:
            f = latent.f
            sides = (side * f for side in latents.shape[-2:]) if f else (height, width)
            given.append(noise.normal((3, *sides), device=latents.device))
        decoded = decoding(*given)
        return (decoded.float() - low) / (1 - low)

    networks = {"encoder": encoding.module, "decoder": decoding.module}
    return from_functions(
        lambda images: _as_grid(run_encoder(images)),
        decode,
        latent,
        stochastic=decoding.inputs == 2,
        networks={role: module for role, module in networks.items() if module is not None},
        weights=(encoding.path, decoding.path),
        info={"pixels": f"{low:g}..1"},
    )


def _as_grid(data: Tensor) -> Tensor:
    """Give codes the dimensions that they lack: channels, or also rows."""
    while 1 < data.ndim < 4:
        data = data[:, None]
    return data.float() if data.is_floating_point() else data.long()


def _describe(encoder: str, data: Tensor, codes: int, width: int) -> LatentSpec:
    """Describe latents by those of a blank image.

    Raises:
        WeightsError: they are not what was stated, or no latents.
    """
    if data.is_floating_point() == bool(codes):
        fix = "Leave codes out" if codes else "Pass codes=N, the size of its codebook"
        raise WeightsError(f"{encoder} returned {data.dtype}. {fix}")
    is_row = data.ndim == 4 and data.shape[2] == 1 < data.shape[3]
    if data.ndim != 4 or (width % data.shape[3] and not is_row):
        raise WeightsError(
            f"{encoder} returned shape {tuple(data.shape)} for {width} px, expected a latent of 2 "
            "to 4 dimensions. Pass an encoder"
        )
    return LatentSpec(
        "discrete" if codes else "continuous",
        f=0 if is_row else width // data.shape[3],
        channels=data.shape[1],
        bits_per_value=math.log2(codes) if codes else None,
        tokens=data.shape[3] if is_row else None,
    )
