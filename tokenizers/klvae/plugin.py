"""Adapter: diffusers' ``AutoencoderKL``, in the model's own normalised latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.files import choose_weights

from .loading import find_folder, load_file, load_folder


class KLVAE(Tokenizer):
    """An encoder with a Gaussian posterior and a decoder that needs no noise.

    Args:
        model: an ``AutoencoderKL`` in evaluation mode.
        weights: the file that it was loaded from.
    """

    def __init__(self, model: Any, weights: Path) -> None:
        config = model.config
        self._model = model
        self._scale = config.scaling_factor
        self._shift = config.shift_factor or 0.0
        self.weights = (weights,)
        f = 2 ** (len(config.block_out_channels) - 1)
        self.latent = LatentSpec("continuous", f=f, channels=config.latent_channels)

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """The posterior's mean, or mean + std * noise, shifted and scaled."""
        posterior = self._model.encode((2 * images - 1).to(self._model.dtype)).latent_dist
        z = posterior.mean.float()
        if noise is not None:
            z = z + posterior.std.float() * noise.normal(z.shape[1:], device=z.device)
        return Latent((z - self._shift) * self._scale, (images.shape[-2], images.shape[-1]))

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Undo shift and scale, and decode; the noise is not used."""
        assert isinstance(latent.data, Tensor)
        z = latent.data / self._scale + self._shift
        decoded: Tensor = self._model.decode(z.to(self._model.dtype)).sample
        return (decoded.float() + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """The convolution on either side of the latent counts with its network."""
        model = self._model
        return {
            "encoder": _together(model.encoder, model.quant_conv),
            "decoder": _together(model.decoder, model.post_quant_conv),
        }

    def info(self) -> dict[str, Any]:
        """The normalisation of the latents, which no result file could show otherwise."""
        return {"scaling_factor": self._scale, "shift_factor": self._shift}


def load(f: int, path: str, subfolder: str, revision: str) -> KLVAE:
    """Load the model; the manifest explains the options.

    Raises:
        OptionError: ``f`` was given beside ``path``.
        WeightsError: the model is missing, out of reach, damaged or of another architecture.
    """
    chosen = choose_weights(Path(__file__).parent, f, path)
    if path.endswith(".safetensors") or not path:
        if subfolder or revision:
            raise WeightsError("klvae: subfolder and revision go with a folder or a Hub id as path")
        return KLVAE(load_file(chosen), chosen)
    folder = find_folder(path, subfolder, revision)
    return KLVAE(*load_folder(folder))


def _together(*parts: nn.Module | None) -> nn.ModuleList:
    return nn.ModuleList(part for part in parts if part is not None).eval()
