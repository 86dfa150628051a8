"""SSDD's encoder: a convolutional network with a Gaussian posterior, as in VQGAN and SD-VAE.

Parameter names and shapes are those of the released checkpoints, without their ``encoder.``
prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.errors import OptionError
from ssdd_bench.nn.blocks import GROUPS, activate, init_convolution
from ssdd_bench.nn.norm import GroupNorm

PAPER_BASE = 128
MULTIPLIERS = {4: (1, 2, 4), 8: (1, 2, 4, 4), 16: (1, 2, 4, 4, 4), 32: (1, 2, 4, 4, 4, 4)}


@dataclass(frozen=True)
class DiagonalGaussian:
    """Diagonal Gaussian over latents, the posterior of an encoder.

    Attributes:
        mean: (B, z_dim, h, w).
        logvar: same shape, within [-30, 20].
    """

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        """Standard deviation, same shape as the mean."""
        return torch.exp(0.5 * self.logvar)

    def mode(self) -> Tensor:
        """Return the most likely latent."""
        return self.mean

    def sample(
        self, generator: torch.Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Sample one latent, from standard normal ``noise`` of the mean's shape if it is given."""
        if noise is None:
            noise = torch.randn(
                self.mean.shape,
                generator=generator,
                device=self.mean.device,
                dtype=self.mean.dtype,
            )
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


class AsymmetricDownsample(nn.Module):
    """Halve both sides; the zero padding is on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H/2, W/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class EncoderDownBlock(nn.Module):
    """Two blocks at one resolution, then a halving except at the coarsest one."""

    def __init__(self, in_channels: int, channels: int, resize: bool, groups: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            EncoderBlock(width, channels, groups) for width in (in_channels, channels)
        )
        self.downsample = AsymmetricDownsample(channels) if resize else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H/2, W/2), or the same size at the coarsest resolution."""
        for block in self.block:
            x = block(x)
        return self.downsample(x)


class GlobalAttention(nn.Module):
    """Single-head self-attention over all cells."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = _norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v)
        )
        h = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, x.shape[-2:]))


class EncoderMiddle(nn.Module):
    """Block, attention, block at the coarsest resolution."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = EncoderBlock(channels, channels, groups)
        self.attn_1 = GlobalAttention(channels, groups)
        self.block_2 = EncoderBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class SSDDEncoder(nn.Module):
    """Map images to a diagonal Gaussian over latents.

    Example::

        encoder = SSDDEncoder(f=8, z_dim=4)
        z = encoder(2 * images - 1).mode()  # images (B, 3, H, W) in [0, 1]

    Args:
        f: image pixels per latent cell along one side: 4, 8, 16 or 32.
        z_dim: channels of the latent.
        base: width at the finest resolution, 128 in the paper. Narrower networks have groups of
            four channels and convolutions initialised by their fan-in.

    Raises:
        OptionError: ``f`` is none of these.
    """

    def __init__(self, f: int = 8, z_dim: int = 4, base: int = PAPER_BASE) -> None:
        super().__init__()
        if f not in MULTIPLIERS:
            raise OptionError(f"f is {f}, expected one of {sorted(MULTIPLIERS)}")
        self.f = f
        self.z_dim = z_dim
        self.base = base
        groups = min(GROUPS, base // 4)
        widths = [base * multiplier for multiplier in MULTIPLIERS[f]]
        self.conv_in = nn.Conv2d(3, base, 3, padding=1)
        self.down = nn.ModuleList(
            EncoderDownBlock(before, width, index < len(widths) - 1, groups)
            for index, (before, width) in enumerate(pairwise([base, *widths]))
        )
        self.mid = EncoderMiddle(widths[-1], groups)
        self.norm_out = _norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], 2 * z_dim, 3, padding=1)
        self.out_proj = nn.Conv2d(2 * z_dim, 2 * z_dim, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise convolutions from normals, in the paper's width N(0, 0.02), biases at zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init_convolution(module, 0.02 if self.base >= PAPER_BASE else None)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Encode images (B, 3, H, W) in [-1, 1] to a posterior over (B, z_dim, H/f, W/f)."""
        h = self.conv_in(x)
        for block in self.down:
            h = block(h)
        h = self.out_proj(self.conv_out(activate(self.norm_out(self.mid(h)))))
        mean, logvar = h.chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar.clamp(-30, 20))


class VAEEncoder(nn.Module):
    """Frozen encoder of a diffusers ``AutoencoderKL`` in the place of SSDD's own.

    Its latents are not scaled: SSDD's decoders of this kind were trained on them as they are.

    Args:
        encoder: the model's ``encoder``; (B, 3, H, W) to features.
        quant_conv: the model's 1x1 convolution to the moments of the posterior.
        f: image pixels per latent cell along one side.
        z_dim: channels of the latent.
    """

    def __init__(self, encoder: nn.Module, quant_conv: nn.Module, f: int, z_dim: int) -> None:
        super().__init__()
        self.f = f
        self.z_dim = z_dim
        self.encoder = encoder
        self.quant_conv = quant_conv
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Encode images (B, 3, H, W) in [-1, 1] to a posterior over (B, z_dim, H/f, W/f)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar.clamp(-30, 20))
