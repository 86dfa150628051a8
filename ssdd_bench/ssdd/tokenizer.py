"""SSDD's encoder and decoder as a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler
from ssdd_bench.nn.encoder import SSDDEncoder, VAEEncoder
from ssdd_bench.ssdd.checkpoints import load_decoder, load_ssdd


def solve(
    decoder: Callable[[Tensor, Tensor, Tensor], Tensor],
    z: Tensor,
    noise: Tensor,
    times: Sequence[float],
    dtype: torch.dtype,
) -> Tensor:
    """Decode latents to images (B, 3, H, W) in [-1, 1] by solving the flow from noise.

    Args:
        decoder: maps (x_t, t, z) to the velocity, as :class:`SSDDDecoder` does.
        z: latents (B, z_dim, h, w), as the encoder returns them; the images have their dtype.
        noise: standard normals (B, 3, H, W).
        times: of :func:`ssdd_bench.flow.schedule.power_schedule`.
        dtype: of the decoder's weights.
    """
    context = z.to(dtype)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return decoder(x.to(dtype), t, context).to(x.dtype)

    return euler(velocity, noise.to(z.dtype), times)


class SSDDTokenizer(Tokenizer):
    """Tokenizer with SSDD's networks, which decodes by solving the flow from keyed noise.

    Args:
        checkpoint: safetensors file with ``encoder.*`` and ``decoder.*``: ours or an official one.
        steps: Euler steps, each one evaluation of the decoder.
        t_pow_shift: exponent of :func:`ssdd_bench.flow.schedule.power_schedule`.
        encoder: of another model, for a checkpoint that holds a decoder only.
    """

    steps: int

    def __init__(
        self,
        checkpoint: Path,
        steps: int = 1,
        t_pow_shift: float = 2.0,
        encoder: SSDDEncoder | VAEEncoder | None = None,
    ) -> None:
        if encoder is None:
            encoder, self.decoder = load_ssdd(checkpoint)
        else:
            self.decoder = load_decoder(checkpoint)
        self.encoder = encoder
        self.latent = LatentSpec("continuous", encoder.f, encoder.z_dim)
        self.steps = steps
        self.t_pow_shift = t_pow_shift
        self.times = power_schedule(steps, t_pow_shift)
        self.weights = (checkpoint,)

    @torch.inference_mode()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return the posterior's mode, or a sample where ``noise`` is given."""
        posterior = self.encoder((images * 2 - 1).to(_dtype(self.encoder)))
        z = posterior.mode()
        if noise is not None:
            z = posterior.sample(noise.normal(z.shape[1:], device=images.device))
        z = z.to(images.dtype)
        return Latent(z, (images.shape[-2], images.shape[-1]))

    @torch.inference_mode()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Solve from noise at the output's resolution.

        Whatever the dtype of the weights, the noise and the state have that of the latent.
        """
        z = latent.data
        assert isinstance(z, Tensor)
        start = noise.normal((3, *latent.size), device=z.device)
        return (solve(self.decoder, z, start, self.times, _dtype(self.decoder)) + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """Return the encoder and the decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def info(self) -> dict[str, Any]:
        """Return widths and depth of the decoder."""
        size = self.decoder.size
        return {"widths": list(size.widths), "heads": size.heads, "depth": size.depth}


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
