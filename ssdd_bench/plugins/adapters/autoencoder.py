"""The networks of a diffusers autoencoder as a tokenizer with continuous latents.

Each model has its own normalisation, with which its diffusion models see the latents. It is applied
after encoding and inverted before decoding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.arguments import number, numbers, plain
from ssdd_bench.errors import ResolutionError

NORMALISATION = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
"""Entries of a model's configuration; absent ones and None leave latents as they are."""
TIMESTEPS = (1008, 512)
"""Timesteps of the consistency decoder's published two-step sampler, of 1024."""


class Autoencoder(Tokenizer):
    """A diffusers model in evaluation mode, with a Gaussian posterior or a deterministic encoder.

    Latents are ``(z - shift_factor) * scaling_factor``; a model with statistics per channel in
    its configuration has ``(z - latents_mean) * scaling_factor / latents_std``.

    Raises:
        UserError: one of these is no positive or no finite number, or there is not one statistic
            for each channel.
    """

    def __init__(
        self, model: Any, latent: LatentSpec, weights: tuple[Path, ...], steps: int | None = None
    ) -> None:
        self._model = model
        self.weights = weights
        self.latent = latent
        self.steps = steps
        config = model.config
        named = {name: plain(config.get(name)) for name in NORMALISATION}
        given = {name: value for name, value in named.items() if value is not None}
        self._scale: Any = number("scaling_factor", given.get("scaling_factor", 1.0), positive=True)
        self._shift: Any = number("shift_factor", given.get("shift_factor", 0.0))
        if "latents_mean" in given or "latents_std" in given:
            mean = numbers("latents_mean", given.get("latents_mean"), latent.channels)
            std = numbers("latents_std", given.get("latents_std"), latent.channels, positive=True)
            self._shift = torch.tensor(mean).view(1, -1, 1, 1)
            self._scale = self._scale / torch.tensor(std).view(1, -1, 1, 1)

    @property
    def model(self) -> Any:
        """The autoencoder of diffusers."""
        return self._model

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return the posterior's mean, or mean + std * noise where the encoder has a posterior."""
        out = self._model.encode(self._enter(2 * images - 1).to(self._model.dtype))
        if "latent_dist" in out:
            z = self._leave(out.latent_dist.mean.float())
            if noise is not None:
                sample = noise.normal(z.shape[1:], device=z.device)
                z = z + self._leave(out.latent_dist.std.float()) * sample
        else:
            z = out["latent" if "latent" in out else "latents"].float()
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
        decoder = model.decoder if hasattr(model, "decoder") else model.decoder_unet
        return {
            "encoder": join(model.encoder, getattr(model, "quant_conv", None)),
            "decoder": join(decoder, getattr(model, "post_quant_conv", None)),
        }

    def info(self) -> dict[str, Any]:
        """Return the class and the normalisation of the latents."""
        factors = {"scaling_factor": self._scale, "shift_factor": self._shift}
        return {"class": type(self._model).__name__} | {
            name: value.flatten().tolist() if isinstance(value, Tensor) else value
            for name, value in factors.items()
        }

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        return (self._leave(self._model.decode(self._enter(z)).sample.float()) + 1) / 2

    def _enter(self, x: Tensor) -> Tensor:
        """Give images or latents (B, C, H, W) the shape that the network takes."""
        return x

    def _leave(self, x: Tensor) -> Tensor:
        """Invert :meth:`_enter`."""
        return x


class SSDDAutoencoder(Autoencoder):
    """SSDD with the interface of diffusers, which decodes from keyed noise."""

    stochastic = True

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Invert the normalisation and decode; noise and images have the dtype of the latent."""
        assert isinstance(latent.data, Tensor)
        z = self.denormalise(latent.data)
        start = noise.normal((3, *latent.size), device=z.device)
        return (self._model.decode(z, noise=start).sample + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """Return the encoder and the decoder."""
        return {"encoder": self._model.encoder, "decoder": self._model.decoder}


class FrameAutoencoder(Autoencoder):
    """A video model, which sees each image as a video of one frame."""

    def _enter(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2)

    def _leave(self, x: Tensor) -> Tensor:
        return x.squeeze(2)


class OpaqueFrameAutoencoder(FrameAutoencoder):
    """A video model of frames with an alpha channel: images are opaque, and alpha is left out."""

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Add a channel of ones and encode."""
        return super().encode(torch.cat([images, torch.ones_like(images[:, :1])], dim=1), noise)

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        return super()._decode(z, latent, noise)[:, :3]


class Flux2Autoencoder(Autoencoder):
    """FLUX.2, whose latents have one mean and variance per channel and position in a 2 x 2 patch.

    The latents keep the encoder's shape, f8.
    """

    def normalise(self, z: Tensor) -> Tensor:
        """Standardise by the statistics stored in the model's batch norm."""
        if z.shape[-2] % 2 or z.shape[-1] % 2:
            raise ResolutionError(
                f"latents of {z.shape[-2]} x {z.shape[-1]} positions do not split into 2 x 2 "
                "patches. Choose a resolution that is a multiple of 16."
            )
        mean, std = self._statistics(z)
        return pixel_shuffle((pixel_unshuffle(z, 2) - mean) / std, 2)

    def denormalise(self, z: Tensor) -> Tensor:
        """Invert :meth:`normalise`."""
        mean, std = self._statistics(z)
        return pixel_shuffle(pixel_unshuffle(z, 2) * std + mean, 2)

    def info(self) -> dict[str, Any]:
        """Return the class; the statistics are too long to list."""
        return {"class": type(self._model).__name__, "normalised": "statistics of 2 x 2 patches"}

    def _statistics(self, z: Tensor) -> tuple[Tensor, Tensor]:
        norm = self._model.bn
        std = (norm.running_var + self._model.config.batch_norm_eps).sqrt()
        return norm.running_mean.view(1, -1, 1, 1).to(z), std.view(1, -1, 1, 1).to(z)


class ConsistencyDecoder(Autoencoder):
    """SD-VAE's encoder and a U-Net that maps noise and latents to the image in one or two steps.

    The second step adds noise to the first one's image and maps it again. Sampling is written
    here because the noise of diffusers' own sampler depends on the batch.
    """

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        model, schedule = self._model, self._model.decoder_scheduler
        means, stds = model.means.to(z), model.stds.to(z)
        condition = interpolate(
            (z * model.config.scaling_factor - means) / stds, scale_factor=float(self.latent.f)
        )
        image = torch.zeros((len(latent), 3, *latent.size), device=z.device)
        for timestep in TIMESTEPS[: self.steps]:
            first = timestep == TIMESTEPS[0]
            signal = 0 if first else schedule.sqrt_alphas_cumprod[timestep].item()
            level = schedule.sqrt_one_minus_alphas_cumprod[timestep].item()
            sample = noise.normal(image.shape[1:], device=z.device)
            noisy = (signal * image + level * sample).to(z.dtype)
            scaled = noisy * schedule.c_in[timestep].item()
            times = torch.full((len(noisy),), timestep, device=z.device)
            out = model.decoder_unet(torch.cat([scaled, condition], dim=1), times).sample[:, :3]
            skip, gain = schedule.c_skip[timestep].item(), schedule.c_out[timestep].item()
            image = (gain * out + skip * noisy).float()
        return (image + 1) / 2


def join(*parts: nn.Module | None) -> nn.ModuleList:
    """Make one network of several, without those that a model lacks."""
    return nn.ModuleList(part for part in parts if part is not None).eval()


def _on(value: Any, like: Tensor) -> Any:
    return value.to(like.device) if isinstance(value, Tensor) else value
