"""SSDD's decoder: a U-Net in pixel space, conditioned on a latent, that predicts a velocity.

Source: Vallaeys, Verbeek, Cord, "SSDD: Single-Step Diffusion Decoder for Efficient Image
Tokenization", arXiv 2510.04961. Parameters are named as in the released checkpoints, without their
prefix ``decoder.``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.errors import OptionError, ResolutionError, UnknownNameError
from ssdd_bench.nn.blocks import (
    GROUPS,
    DownBlock,
    MiddleTransformer,
    ResidualBlock,
    TimeEmbedding,
    TransformerBlock,
    UpBlock,
    activate,
    init_convolution,
    zero_init,
)
from ssdd_bench.nn.norm import GroupNorm

DOWNSAMPLING = 8  # the middle always runs at 1/8 of the image, whatever the encoder's f


@dataclass(frozen=True)
class DecoderSize:
    """Widths and depth of a decoder.

    Attributes:
        widths: channels at the four resolutions, from the finest to the coarsest.
        heads: attention heads of the middle transformer.
        depth: transformer blocks.
        groups: of every group norm.
        init_std: of new convolutions, ``None`` for 1 / sqrt(fan-in).

    Raises:
        OptionError: the widths are not four that divide into groups, or the last not into heads.
    """

    widths: tuple[int, int, int, int]
    heads: int
    depth: int
    groups: int = GROUPS
    init_std: float | None = 0.02

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or any(width % self.groups for width in self.widths):
            raise OptionError(
                f"an SSDD decoder has the widths {self.widths}. Pass four multiples of "
                f"{self.groups}, as many as a group norm has groups"
            )
        if self.widths[-1] % self.heads:
            raise OptionError(
                f"an SSDD decoder has {self.heads} attention heads, which do not divide its last "
                f"width, {self.widths[-1]}"
            )

    @classmethod
    def of(cls, widths: tuple[int, int, int, int], heads: int, depth: int) -> DecoderSize:
        """Return the size in :data:`SIZES` with these dimensions, or else a new one like those."""
        known = (
            size
            for size in SIZES.values()
            if (size.widths, size.heads, size.depth) == (widths, heads, depth)
        )
        return next(known, None) or cls(widths, heads, depth)


SIZES = {
    # Ours, for training on a CPU. With one channel in each of 32 groups, a norm would erase the
    # mean of every channel and with it the colour of the image. "mini" is narrow where maps are
    # large, so that it decodes faster.
    "mini": DecoderSize((16, 32, 64, 64), 4, 4, groups=4, init_std=None),
    "XXS": DecoderSize((32, 32, 32, 64), 4, 4, groups=8, init_std=None),
    "XS": DecoderSize((32, 64, 96, 96), 4, 8),
    "S": DecoderSize((64, 96, 160, 160), 4, 8),
    "B": DecoderSize((64, 128, 192, 192), 4, 10),
    "M": DecoderSize((96, 192, 288, 288), 4, 12),
    "L": DecoderSize((96, 192, 384, 384), 6, 16),
    "XL": DecoderSize((128, 256, 512, 512), 8, 16),
    "H": DecoderSize((192, 384, 768, 768), 12, 16),
    "XH": DecoderSize((256, 512, 1024, 1024), 16, 16),
    "G": DecoderSize((384, 768, 1536, 1536), 16, 16),
}


class SSDDDecoder(nn.Module):
    """Predict the velocity of the flow from noise (t = 1) to image (t = 0), given a latent.

    A distilled network decodes by one step of size 1 from pure noise (B, 3, H, W):

        decoder = SSDDDecoder("M", z_dim=4)
        image = noise + decoder(noise, torch.ones(len(noise)), z)  # in [-1, 1]

    Args:
        size: name in :data:`SIZES`, or widths and depth.
        z_dim: channels of the latent.
    """

    def __init__(self, size: str | DecoderSize = "M", z_dim: int = 4) -> None:
        super().__init__()
        if isinstance(size, str):
            if size not in SIZES:
                raise UnknownNameError("decoder size", size, SIZES)
            size = SIZES[size]
        self.size = size
        self.z_dim = z_dim
        widths = size.widths
        base, time = widths[0], 4 * widths[0]
        self.conv_in = nn.Conv2d(3 + z_dim, base, 3, padding=1)
        self.time_embedding = TimeEmbedding(base)
        self.ada_ctx_proj = nn.Sequential(
            nn.Conv2d(z_dim, base, 3, padding=1), nn.SiLU(), nn.Conv2d(base, base, 3, padding=1)
        )

        def blocks(inputs: tuple[int, ...], width: int) -> list[ResidualBlock]:
            return [ResidualBlock(channels, width, base, time, size.groups) for channels in inputs]

        skips = [base]
        self.down_blocks = nn.ModuleList()
        for level, (before, width) in enumerate(pairwise((base, *widths))):
            resize = level < len(widths) - 1
            self.down_blocks.append(DownBlock(blocks((before, width), width), width, resize))
            skips += [width] * (3 if resize else 2)

        self.mid_block = MiddleTransformer(widths[-1], size.heads, size.depth, base, size.groups)

        before = widths[-1]
        self.up_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            inputs = tuple(h + skips.pop() for h in (before, width, width))
            self.up_blocks.append(UpBlock(blocks(inputs, width), width, level > 0))
            before = width

        self.conv_norm_out = GroupNorm(size.groups, base, eps=1e-5)
        self.conv_out = nn.Conv2d(base, 3, 3, padding=1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise convolutions from normals and linear layers by Xavier, with zero biases.

        The last layer of each residual branch starts at zero: the second convolution of a
        residual block, the output of a feed-forward network.
        """

        def reset(module: nn.Module) -> None:
            if isinstance(module, nn.Conv2d):
                init_convolution(module, self.size.init_std)
            elif isinstance(module, nn.Linear):
                zero_init(module)
                nn.init.xavier_uniform_(module.weight)
            elif isinstance(module, ResidualBlock):
                zero_init(module.conv2)
            elif isinstance(module, TransformerBlock):
                zero_init(module.ff[-1])

        self.apply(reset)  # of a block's layers before the block

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """Predict the velocity ``image - noise`` at ``x_t``.

        Args:
            x_t: (B, 3, H, W) in the range of images, [-1, 1], plus noise; H, W multiples of 8.
            t: (B,) in [0, 1]; 1 is pure noise.
            z: latent (B, z_dim, h, w), as the encoder returns it.
        """
        if x_t.shape[-2] % DOWNSAMPLING or x_t.shape[-1] % DOWNSAMPLING:
            raise ResolutionError(
                f"SSDD decodes images whose sides are multiples of {DOWNSAMPLING}, "
                f"not {x_t.shape[-2]}x{x_t.shape[-1]}"
            )
        time = self.time_embedding(1000 * t.float(), x_t.dtype)
        context = self.ada_ctx_proj(z)
        latent = F.interpolate(z, size=x_t.shape[-2:], mode="nearest")
        h = self.conv_in(torch.cat([x_t, latent], dim=1))
        maps = [h]
        for down in self.down_blocks:
            h, skips = down(h, context, time)
            maps += skips
        maps.append(self.mid_block(h, context))
        del h, skips
        for up in self.up_blocks:
            maps = up(maps, context, time)
        return self.conv_out(activate(self.conv_norm_out(maps.pop(), overwrite=True)))
