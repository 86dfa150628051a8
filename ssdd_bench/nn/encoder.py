"""SSDD's encoder: a convolutional network with a Gaussian posterior, as in VQGAN and SD-VAE.

Parameters are named as in the released checkpoints, without their prefix ``encoder.``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.errors import OptionError
from ssdd_bench.nn.blocks import GROUPS, Checkpointed, activate, init_convolution, named
from ssdd_bench.nn.norm import GroupNorm

PAPER_BASE = 128
MULTIPLIERS = {4: (1, 2, 4), 8: (1, 2, 4, 4), 16: (1, 2, 4, 4, 4), 32: (1, 2, 4, 4, 4, 4)}


@dataclass(frozen=True)
class DiagonalGaussian:
    """Diagonal Gaussian over latents (B, z_dim, h, w), the posterior of an encoder."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        """Standard deviation."""
        return torch.exp(0.5 * self.logvar)

    def mode(self) -> Tensor:
        """Return the most likely latent."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Sample one latent by standard normal noise of the mean's shape."""
        return self.mean + self.std * noise

    def kl(self) -> Tensor:
        """Compute the KL divergence from N(0, 1), summed over a latent: (B,) in nats, float32."""
        mean, logvar = self.mean.float(), self.logvar.float()
        return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=(1, 2, 3))


def _norm(channels: int, groups: int) -> GroupNorm:
    return GroupNorm(groups, channels, eps=1e-6)


class EncoderBlock(nn.Module):
    """Two normalised 3x3 convolutions around a shortcut."""

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm2 = _norm(channels, groups)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.nin_shortcut = (
            nn.Conv2d(in_channels, channels, 1) if in_channels != channels else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H, W)."""
        h = self.conv1(activate(self.norm1(x)))
        h = self.conv2(activate(self.norm2(h)))
        return self.nin_shortcut(x) + h


class GlobalAttention(nn.Module):
    """Single-head self-attention over all cells."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = _norm(channels, groups)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v)
        )
        h = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, x.shape[-2:]))


class SSDDEncoder(Checkpointed):
    """Map images to a diagonal Gaussian over latents.

    For images (B, 3, H, W) in [0, 1]:

        encoder = SSDDEncoder(f=8, z_dim=4)
        z = encoder(2 * images - 1).mode()

    Args:
        f: image pixels per latent cell along one side: 4, 8, 16 or 32.
        z_dim: channels of the latent.
        base: width at the finest resolution, 128 in the paper. Narrower networks have groups of
            four channels and convolutions initialised by their fan-in.
    """

    def __init__(self, f: int = 8, z_dim: int = 4, base: int = PAPER_BASE) -> None:
        super().__init__()
        if f not in MULTIPLIERS:
            raise OptionError(f"f is {f}, expected one of {sorted(MULTIPLIERS)}")
        self.f = f
        self.z_dim = z_dim
        groups = min(GROUPS, base // 4)
        widths = [base * multiplier for multiplier in MULTIPLIERS[f]]
        self.conv_in = nn.Conv2d(3, base, 3, padding=1)
        self.down = nn.Sequential()
        for level, (before, width) in enumerate(pairwise([base, *widths])):
            blocks = (EncoderBlock(channels, width, groups) for channels in (before, width))
            stage = named(block=nn.Sequential(*blocks))
            if level < len(widths) - 1:  # with zeros at the right and at the bottom only
                strided = nn.Conv2d(width, width, 3, stride=2)
                stage.downsample = named(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=strided)
            self.down.append(stage)
        deepest = widths[-1]
        self.mid = named(
            block_1=EncoderBlock(deepest, deepest, groups),
            attn_1=GlobalAttention(deepest, groups),
            block_2=EncoderBlock(deepest, deepest, groups),
        )
        self.norm_out = _norm(deepest, groups)
        self.conv_out = nn.Conv2d(deepest, 2 * z_dim, 3, padding=1)
        self.out_proj = nn.Conv2d(2 * z_dim, 2 * z_dim, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init_convolution(module, 0.02 if base >= PAPER_BASE else None)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Encode images (B, 3, H, W) in [-1, 1] to a posterior over (B, z_dim, H/f, W/f)."""
        h = self.conv_in(x)
        for stage in (*self.down, self.mid):
            for part in stage:
                for block in part if isinstance(part, nn.Sequential) else (part,):
                    h = self.run(block, h)
        h = self.out_proj(self.conv_out(activate(self.norm_out(h))))
        mean, logvar = h.chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar.clamp(-30, 20))


class VAEEncoder(nn.Module):
    """Frozen encoder of a diffusers ``AutoencoderKL`` in the place of SSDD's own.

    Its latents are not scaled: SSDD's decoders of this kind were trained on them as they are.
    """

    def __init__(self, encoder: nn.Module, quant_conv: nn.Module, f: int, z_dim: int) -> None:
        super().__init__()
        self.f = f
        self.z_dim = z_dim
        self.encoder = encoder
        self.quant_conv = quant_conv
        self.requires_grad_(False).eval()

    @classmethod
    def of(cls, vae: Any) -> VAEEncoder:
        """Copy the encoder of an ``AutoencoderKL`` that has a ``quant_conv``; its own stays."""
        encoder, last = copy.deepcopy((vae.encoder, vae.quant_conv))
        f = 2 ** (len(vae.config.block_out_channels) - 1)
        return cls(encoder, last, f, vae.config.latent_channels)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Encode images (B, 3, H, W) in [-1, 1] to a posterior over (B, z_dim, H/f, W/f)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar.clamp(-30, 20))
