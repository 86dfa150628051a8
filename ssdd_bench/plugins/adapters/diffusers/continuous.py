"""Adapters of autoencoders with continuous latents.

Each model has its own normalisation, with which its diffusion models see the latents. An adapter
applies it after encoding and inverts it before decoding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import ResolutionError


class Autoencoder(Tokenizer):
    """A diffusers model with a Gaussian posterior or a deterministic encoder.

    Latents are ``(z - shift_factor) * scaling_factor``; a model with statistics per channel in
    its configuration has ``(z - latents_mean) * scaling_factor / latents_std``.

    Args:
        model: in evaluation mode.
        latent: shape of its latents.
        weights: files that it was loaded from.
    """

    def __init__(self, model: Any, latent: LatentSpec, weights: tuple[Path, ...]) -> None:
        self._model = model
        self.weights = weights
        self.latent = latent
        config = model.config
        self._scale: float | Tensor = config.get("scaling_factor") or 1.0
        self._shift: float | Tensor = config.get("shift_factor") or 0.0
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None and latent.channels == len(mean) == len(std):
            self._shift = torch.tensor(mean).view(1, -1, 1, 1)
            self._scale = self._scale / torch.tensor(std).view(1, -1, 1, 1)

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return the posterior's mean, or mean + std * noise where the encoder has a posterior."""
        z = self._encode(self._to_input(images).to(self._model.dtype), noise)
        return Latent(self.normalise(z), (images.shape[-2], images.shape[-1]))

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Invert the normalisation and decode."""
        assert isinstance(latent.data, Tensor)
        return self._decode(self.denormalise(latent.data).to(self._model.dtype), latent, noise)

    def normalise(self, z: Tensor) -> Tensor:
        """Map the network's latents to those that its diffusion models see."""
        return (z - _on(self._shift, z)) * _on(self._scale, z)

    def denormalise(self, z: Tensor) -> Tensor:
        """Invert :meth:`normalise`."""
        return z / _on(self._scale, z) + _on(self._shift, z)

    def networks(self) -> dict[str, nn.Module]:
        """Return both networks, each with its convolution at the latent."""
        model = self._model
        return {
            "encoder": together(model.encoder, getattr(model, "quant_conv", None)),
            "decoder": together(model.decoder, getattr(model, "post_quant_conv", None)),
        }

    def info(self) -> dict[str, Any]:
        """Return the class and the normalisation of the latents."""
        return {
            "class": type(self._model).__name__,
            "scaling_factor": _plain(self._scale),
            "shift_factor": _plain(self._shift),
        }

    def _to_input(self, images: Tensor) -> Tensor:
        return 2 * images - 1

    def _encode(self, images: Tensor, noise: Noise | None) -> Tensor:
        out = self._model.encode(images)
        if "latent_dist" not in out:
            return _float(out["latent"] if "latent" in out else out["latents"])
        z = _float(out.latent_dist.mean)
        if noise is not None:
            sample = noise.normal(z.shape[1:], device=z.device)
            z = z + _float(out.latent_dist.std) * sample
        return z

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        return (_float(self._model.decode(z).sample) + 1) / 2


class Flux2Autoencoder(Autoencoder):
    """FLUX.2, whose latents have one mean and variance per channel and position in a 2 x 2 patch.

    The latents keep the encoder's shape, f8.
    """

    def normalise(self, z: Tensor) -> Tensor:
        """Standardise by the statistics stored in the model's batch norm."""
        if z.shape[-2] % 2 or z.shape[-1] % 2:
            raise ResolutionError(
                f"latents of {z.shape[-2]} x {z.shape[-1]} cells do not split into 2 x 2 patches. "
                "Choose a resolution that is a multiple of 16."
            )
        mean, std = self._statistics(z)
        return pixel_shuffle((pixel_unshuffle(z, 2) - mean) / std, 2)

    def denormalise(self, z: Tensor) -> Tensor:
        """Invert :meth:`normalise`."""
        mean, std = self._statistics(z)
        return pixel_shuffle(pixel_unshuffle(z, 2) * std + mean, 2)

    def info(self) -> dict[str, Any]:
        """Return the class; the statistics are too long to list."""
        return {"class": type(self._model).__name__, "normalised": "statistics of 2 x 2 cells"}

    def _statistics(self, z: Tensor) -> tuple[Tensor, Tensor]:
        norm = self._model.bn
        std = (norm.running_var + self._model.config.batch_norm_eps).sqrt()
        return norm.running_mean.view(1, -1, 1, 1).to(z), std.view(1, -1, 1, 1).to(z)


class RepresentationAutoencoder(Autoencoder):
    """RAE, which normalises its latents itself and decodes images of one size only."""

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return features of the frozen encoder, for which the model resizes the images.

        Raises:
            ResolutionError: the decoder returns images of another size.
        """
        size = self._model.decoder_image_size
        if images.shape[-2:] != (size, size):
            raise ResolutionError(
                f"the images are {images.shape[-1]} x {images.shape[-2]} px, this model takes "
                f"{size} x {size}. Choose resolution {size}."
            )
        return super().encode(images, noise)

    def normalise(self, z: Tensor) -> Tensor:
        """Return the latents as they are: the model normalises them."""
        return z

    def denormalise(self, z: Tensor) -> Tensor:
        """Return the latents as they are: the model inverts its normalisation."""
        return z

    def _to_input(self, images: Tensor) -> Tensor:
        return images

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        return _float(self._model.decode(z).sample)


def together(*parts: nn.Module | None) -> nn.ModuleList:
    """Join the modules that are not None, in evaluation mode."""
    return nn.ModuleList(part for part in parts if part is not None).eval()


def _float(tensor: Any) -> Tensor:
    made: Tensor = tensor.float()
    return made


def _on(value: float | Tensor, like: Tensor) -> float | Tensor:
    return value.to(like.device) if isinstance(value, Tensor) else value


def _plain(value: float | Tensor) -> Any:
    return value.flatten().tolist() if isinstance(value, Tensor) else value
