"""Choose the adapter of a model's class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.errors import OptionError, PluginError
from ssdd_bench.plugins.adapters.diffusers.consistency import TIMESTEPS, ConsistencyDecoder
from ssdd_bench.plugins.adapters.diffusers.continuous import (
    Autoencoder,
    Flux2Autoencoder,
    RepresentationAutoencoder,
)
from ssdd_bench.plugins.adapters.diffusers.vq import VQAutoencoder

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
        spec = LatentSpec("continuous", config.patch_size, config.encoder_hidden_size)
        return RepresentationAutoencoder(model, spec, files)
    if name == "AutoencoderKLHunyuanImage":
        f = config.spatial_compression_ratio
    else:
        f = 2 ** (len(config[BLOCKS[name]]) - 1)
    if name == "VQModel":
        return VQAutoencoder(model, f, files)
    spec = LatentSpec("continuous", f, config.latent_channels)
    if name == "ConsistencyDecoderVAE":
        return ConsistencyDecoder(model, spec, files, steps or len(TIMESTEPS))
    adapter = Flux2Autoencoder if name == "AutoencoderKLFlux2" else Autoencoder
    return adapter(model, spec, files)


def _class_name(model: object) -> str:
    """Name the nearest class of diffusers that the object derives from; "" if there is none."""
    kinds = (kind for kind in type(model).__mro__ if kind.__module__.startswith("diffusers."))
    return next((kind.__name__ for kind in kinds), "")
