"""Autoencoders of diffusers as tokenizers. Imports no diffusers: models are told by their class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.errors import OptionError, PluginError, ResolutionError
from ssdd_bench.plugins.adapters.autoencoder import (
    TIMESTEPS,
    Autoencoder,
    ConsistencyDecoder,
    Flux2Autoencoder,
    FrameAutoencoder,
    OpaqueFrameAutoencoder,
    SSDDAutoencoder,
    join,
)
from ssdd_bench.plugins.adapters.functions import FunctionTokenizer


@dataclass(frozen=True)
class Layout:
    """Entries of a class's configuration that tell the shape of the latents.

    Attributes:
        blocks: an entry with one value per resolution of the encoder; "" if ``ratio`` tells f.
        ratio: an entry with the pixels per latent position along one side.
        channels: the entry with the channels of the latents.
        adapter: makes the tokenizer, but for the two classes that have a function.
        alone: give the network one image at a time, since its attention mixes those of a batch.
    """

    blocks: str = ""
    ratio: str = ""
    channels: str = "latent_channels"
    adapter: type[Autoencoder] = Autoencoder
    alone: bool = False


CLASSES: Mapping[str, Layout] = {
    "AsymmetricAutoencoderKL": Layout("down_block_types"),
    "AutoencoderDC": Layout("encoder_block_out_channels"),
    "AutoencoderKL": Layout("down_block_types"),
    "AutoencoderKLCogVideoX": Layout("block_out_channels", adapter=FrameAutoencoder),
    "AutoencoderKLFlux2": Layout("down_block_types", adapter=Flux2Autoencoder),
    "AutoencoderKLHunyuanImage": Layout(ratio="spatial_compression_ratio"),
    "AutoencoderKLHunyuanVideo": Layout("", "spatial_compression_ratio", adapter=FrameAutoencoder),
    "AutoencoderKLHunyuanVideo15": Layout(
        "", "spatial_compression_ratio", adapter=FrameAutoencoder, alone=True
    ),
    "AutoencoderKLKVAE": Layout("ch_mult", channels="z_channels"),
    "AutoencoderKLQwenImage": Layout("dim_mult", channels="z_dim", adapter=FrameAutoencoder),
    "AutoencoderKLQwenImage21": Layout(
        "dim_mult", channels="z_dim", adapter=OpaqueFrameAutoencoder
    ),
    "AutoencoderKLWan": Layout("", "scale_factor_spatial", "z_dim", FrameAutoencoder),
    "AutoencoderRAE": Layout(ratio="patch_size", channels="encoder_hidden_size"),
    "AutoencoderSSDD": Layout("block_out_channels", adapter=SSDDAutoencoder),
    "AutoencoderTiny": Layout("num_encoder_blocks"),
    "ConsistencyDecoderVAE": Layout("encoder_down_block_types", adapter=ConsistencyDecoder),
    "VQModel": Layout("down_block_types"),
}
"""Classes with an adapter, diffusers' and our own; video models see each image as one frame."""


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
        UserError: the normalisation of its latents in its configuration is not possible.

    Examples:
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
    layout = CLASSES[name]
    f = config[layout.ratio] if layout.ratio else 2 ** (len(config[layout.blocks]) - 1)
    if name == "VQModel":
        return _from_vq(model, f, files)
    spec = LatentSpec("continuous", f, config[layout.channels])
    if name == "AutoencoderRAE":
        return _from_rae(model, spec, files)
    if layout.alone:
        model.enable_slicing()
    if name == "ConsistencyDecoderVAE":
        steps = steps or len(TIMESTEPS)
    if name == "AutoencoderSSDD":
        steps = config.steps
    return layout.adapter(model, spec, files, steps)


def _from_rae(model: Any, latent: LatentSpec, weights: Sequence[Path]) -> Tokenizer:
    """Adapt an RAE, which normalises its latents itself and decodes images of one size only."""
    size = model.decoder_image_size

    def encode(images: Tensor) -> Tensor:
        if images.shape[-2:] != (size, size):
            raise ResolutionError(
                f"the images are {images.shape[-1]} x {images.shape[-2]} px, this model takes "
                f"{size} x {size}. Choose resolution {size}."
            )
        return model.encode(images).latent

    return FunctionTokenizer(
        encode,
        lambda z: model.decode(z).sample,
        latent,
        networks={"encoder": join(model.encoder), "decoder": join(model.decoder)},
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
            "encoder": join(model.encoder, model.quant_conv),
            "decoder": join(model.quantize, model.post_quant_conv, model.decoder),
        },
        weights=weights,
        info={"class": type(model).__name__, "codebook_size": count},
    )


def _class_name(model: object) -> str:
    """Name the nearest class with an adapter that the object derives from; "" if there is none."""
    homes = ("diffusers.", "ssdd_bench.diffusers.")
    kinds = (kind for kind in type(model).__mro__ if kind.__module__.startswith(homes))
    return next((kind.__name__ for kind in kinds), "")
