"""Autoencoders of diffusers as tokenizers. Imports no diffusers: models are told by their class.

Each model has its own normalisation, with which its diffusion models see the latents. An adapter
applies it after encoding and inverts it before decoding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import OptionError, PluginError, ResolutionError
from ssdd_bench.plugins.adapters.functions import FunctionTokenizer

BLOCKS = {
    "AsymmetricAutoencoderKL": "down_block_types",
    "AutoencoderDC": "encoder_block_out_channels",
    "AutoencoderKL": "down_block_types",
    "AutoencoderKLFlux2": "down_block_types",
    "AutoencoderTiny": "num_encoder_blocks",
    "ConsistencyDecoderVAE": "encoder_down_block_types",
    "VQModel": "down_block_types",
}
"""Entry of the configuration with one value per resolution of the encoder, by class."""

CLASSES = tuple(sorted([*BLOCKS, "AutoencoderKLHunyuanImage", "AutoencoderRAE"]))
"""Classes of diffusers that have an adapter: image autoencoders with latents of four dimensions."""

TIMESTEPS = (1008, 512)
"""Timesteps of the consistency decoder's published two-step sampler, of 1024."""


def is_diffusers_autoencoder(model: object) -> bool:
    """Return True if :func:`from_diffusers` takes the object."""
    return _class_name(model) in CLASSES


def from_diffusers(
    model: Any, *, weights: Sequence[Path] = (), steps: int | None = None
) -> Tokenizer:
    """Make a tokenizer of a diffusers autoencoder.

    Latents are normalised by the model's own scaling and shift factors, as its diffusion models
    see them. The model is used as it is, not copied: it is put into evaluation mode, and moves
    with the tokenizer.

    Args:
        model: an object of one of :data:`CLASSES`, or of a class derived from one.
        weights: files that it was loaded from, whose checksums a result records.
        steps: 1 or 2 for a ``ConsistencyDecoderVAE`` (default 2), None for the others.

    Raises:
        PluginError: no adapter knows the class.
        OptionError: ``steps`` does not fit the model.

    Example:
        >>> from diffusers import AutoencoderKL
        >>> tokenizer = from_diffusers(AutoencoderKL(norm_num_groups=4, block_out_channels=(8,)))
        >>> tokenizer.latent
        LatentSpec(kind='continuous', f=1, channels=4, bits_per_value=None)
    """
    name = _class_name(model)
    if name not in CLASSES:
        raise PluginError(
            f"no adapter for class {type(model).__name__}. Pass one of {', '.join(CLASSES)}, or "
            "wrap its encode and decode with from_functions."
        )
    if steps is not None and (name != "ConsistencyDecoderVAE" or not 1 <= steps <= len(TIMESTEPS)):
        raise OptionError(
            f"steps is {steps} for {name}. Pass 1 or 2 for ConsistencyDecoderVAE and None for "
            "the other classes."
        )
    model.eval()
    files = tuple(weights)
    config = model.config
    if name == "AutoencoderRAE":
        return _from_rae(model, files)
    hunyuan = name == "AutoencoderKLHunyuanImage"
    f = config.spatial_compression_ratio if hunyuan else 2 ** (len(config[BLOCKS[name]]) - 1)
    if name == "VQModel":
        return _from_vq(model, f, files)
    spec = LatentSpec("continuous", f, config.latent_channels)
    if name == "ConsistencyDecoderVAE":
        return ConsistencyDecoder(model, spec, files, steps or len(TIMESTEPS))
    adapter = Flux2Autoencoder if name == "AutoencoderKLFlux2" else Autoencoder
    return adapter(model, spec, files)


class Autoencoder(Tokenizer):
    """A diffusers model in evaluation mode, with a Gaussian posterior or a deterministic encoder.

    Latents are ``(z - shift_factor) * scaling_factor``; a model with statistics per channel in
    its configuration has ``(z - latents_mean) * scaling_factor / latents_std``.
    """

    def __init__(
        self, model: Any, latent: LatentSpec, weights: tuple[Path, ...], steps: int | None = None
    ) -> None:
        self._model = model
        self.weights = weights
        self.latent = latent
        self.steps = steps
        config = model.config
        self._scale: Any = config.get("scaling_factor") or 1.0
        self._shift: Any = config.get("shift_factor") or 0.0
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None and latent.channels == len(mean) == len(std):
            self._shift = torch.tensor(mean).view(1, -1, 1, 1)
            self._scale = self._scale / torch.tensor(std).view(1, -1, 1, 1)

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return the posterior's mean, or mean + std * noise where the encoder has a posterior."""
        out = self._model.encode((2 * images - 1).to(self._model.dtype))
        if "latent_dist" in out:
            z = out.latent_dist.mean.float()
            if noise is not None:
                sample = noise.normal(z.shape[1:], device=z.device)
                z = z + out.latent_dist.std.float() * sample
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
            "encoder": _together(model.encoder, getattr(model, "quant_conv", None)),
            "decoder": _together(decoder, getattr(model, "post_quant_conv", None)),
        }

    def info(self) -> dict[str, Any]:
        """Return the class and the normalisation of the latents."""
        factors = {"scaling_factor": self._scale, "shift_factor": self._shift}
        return {"class": type(self._model).__name__} | {
            name: value.flatten().tolist() if isinstance(value, Tensor) else value
            for name, value in factors.items()
        }

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        return (self._model.decode(z).sample.float() + 1) / 2


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


def _from_rae(model: Any, weights: Sequence[Path]) -> Tokenizer:
    """Adapt an RAE, which normalises its latents itself and decodes images of one size only."""
    size = model.decoder_image_size

    def encode(images: Tensor) -> Tensor:
        if images.shape[-2:] != (size, size):
            raise ResolutionError(
                f"the images are {images.shape[-1]} x {images.shape[-2]} px, this model takes "
                f"{size} x {size}. Choose resolution {size}."
            )
        return model.encode(images.to(model.dtype)).latent.float()

    return FunctionTokenizer(
        encode,
        lambda z: model.decode(z.to(model.dtype)).sample,
        LatentSpec("continuous", model.config.patch_size, model.config.encoder_hidden_size),
        networks={"encoder": _together(model.encoder), "decoder": _together(model.decoder)},
        weights=weights,
        info={"class": type(model).__name__, "scaling_factor": 1.0, "shift_factor": 0.0},
    )


def _from_vq(model: Any, f: int, weights: Sequence[Path]) -> Tokenizer:
    """Adapt a ``VQModel``, whose latents are indices into a codebook."""

    def encode(images: Tensor) -> Tensor:
        h = model.encode((2 * images - 1).to(model.dtype)).latents
        return model.quantize(h)[2][2].reshape(len(images), 1, *h.shape[-2:])

    def decode(codes: Tensor) -> Tensor:
        quantised = model.quantize.embedding(codes[:, 0]).permute(0, 3, 1, 2)
        spatial = quantised if model.config.norm_type == "spatial" else None
        return (model.decoder(model.post_quant_conv(quantised), spatial).float() + 1) / 2

    count = model.config.num_vq_embeddings
    return FunctionTokenizer(
        encode,
        decode,
        LatentSpec("discrete", f, 1, bits_per_value=math.log2(count)),
        networks={
            "encoder": _together(model.encoder, model.quant_conv),
            "decoder": _together(model.quantize, model.post_quant_conv, model.decoder),
        },
        weights=weights,
        info={"class": type(model).__name__, "codebook_size": count},
    )


def _class_name(model: object) -> str:
    """Name the nearest class of diffusers that the object derives from; "" if there is none."""
    kinds = (kind for kind in type(model).__mro__ if kind.__module__.startswith("diffusers."))
    return next((kind.__name__ for kind in kinds), "")


def _together(*parts: nn.Module | None) -> nn.ModuleList:
    return nn.ModuleList(part for part in parts if part is not None).eval()


def _on(value: Any, like: Tensor) -> Any:
    return value.to(like.device) if isinstance(value, Tensor) else value
