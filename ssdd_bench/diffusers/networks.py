"""Build the encoder that a configuration describes, and describe one that is built."""

from __future__ import annotations

from typing import Any

from diffusers.models.autoencoders.vae import Encoder
from torch import nn

from ssdd_bench.arguments import plain
from ssdd_bench.errors import OptionError
from ssdd_bench.nn.encoder import MULTIPLIERS, SSDDEncoder, VAEEncoder

KL_ARGUMENTS = (
    "down_block_types",
    "layers_per_block",
    "norm_num_groups",
    "act_fn",
    "mid_block_add_attention",
)
"""Entries of an ``AutoencoderKL``'s configuration that its encoder takes under the same names."""


def build_encoder(
    widths: tuple[int, ...], latent_channels: int, kl_encoder: dict[str, Any] | None
) -> SSDDEncoder | VAEEncoder:
    """Build a new encoder.

    Args:
        widths: channels at each resolution.
        latent_channels: of the latent.
        kl_encoder: other arguments of diffusers' ``Encoder``; None for SSDD's own encoder.

    Raises:
        OptionError: the widths are not those of an SSDD encoder.
    """
    if kl_encoder is not None:
        encoder = Encoder(
            out_channels=latent_channels, block_out_channels=widths, double_z=True, **kl_encoder
        )
        last = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        return VAEEncoder(encoder, last, 2 ** (len(widths) - 1), latent_channels)
    f, base = 2 ** (len(widths) - 1), widths[0]
    if tuple(base * multiplier for multiplier in MULTIPLIERS.get(f, ())) != widths:
        known = " or ".join(str(multipliers) for multipliers in MULTIPLIERS.values())
        raise OptionError(f"block_out_channels is {widths}. Pass a width times {known}")
    return SSDDEncoder(f, latent_channels, base)


def describe_encoder(encoder: SSDDEncoder) -> dict[str, Any]:
    """Return the entries of a configuration that build this encoder."""
    base = encoder.conv_in.out_channels
    widths = [base * multiplier for multiplier in MULTIPLIERS[encoder.f]]
    return {"block_out_channels": widths, "latent_channels": encoder.z_dim}


def copy_kl_encoder(vae: Any) -> tuple[VAEEncoder, dict[str, Any]]:
    """Copy the encoder of an ``AutoencoderKL``.

    Returns:
        The frozen encoder, and the entries of a configuration that build it and scale its latents.

    Raises:
        OptionError: the object is no ``AutoencoderKL`` with a convolution at the latent.
    """
    if getattr(vae, "quant_conv", None) is None or not isinstance(vae.encoder, Encoder):
        raise OptionError(f"vae is a {type(vae).__name__}. Pass an AutoencoderKL with quant_conv")
    config = vae.config
    return VAEEncoder.of(vae), {
        "block_out_channels": list(config.block_out_channels),
        "latent_channels": config.latent_channels,
        "kl_encoder": {name: config[name] for name in KL_ARGUMENTS},
        "scaling_factor": plain(config.scaling_factor),
        "shift_factor": plain(config.shift_factor) or 0.0,
        # A pipeline applies those of an AutoencoderKL itself.
        "channel_mean": list(plain(config.get("latents_mean")) or ()),
        "channel_std": list(plain(config.get("latents_std")) or ()),
    }
