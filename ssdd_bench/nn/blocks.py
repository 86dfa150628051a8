"""Parts of the SSDD decoder: adaptive norms, residual blocks and transformer blocks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssdd_bench.nn.attention import Bias, RelativePositionBias, neighbourhood_attention
from ssdd_bench.nn.constants import kept
from ssdd_bench.nn.norm import GroupNorm, modulated_group_norm

GROUPS = 32  # of every group norm in the published sizes


def init_convolution(layer: nn.Conv2d, std: float | None) -> None:
    """Initialise weights from N(0, std) and the bias with zeros; ``None`` is 1 / sqrt(fan-in).

    0.02 suits hundreds of channels; in a narrow network the signal would vanish.
    """
    zero_init(layer)
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=fan_in**-0.5 if std is None else std)


def zero_init(layer: nn.Module) -> None:
    """Set a layer to zero, so that its residual block starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def named(**layers: nn.Module) -> nn.Sequential:
    """Chain layers under the names that they have in the released checkpoints."""
    return nn.Sequential(OrderedDict(layers))


def activate(x: Tensor) -> Tensor:
    """Apply SiLU to a feature map that nothing else reads, in place unless gradients need it."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def add(x: Tensor, y: Tensor) -> Tensor:
    """Add ``y`` to a feature map that nothing else reads, in place unless gradients need it."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


class Checkpointed(nn.Module):
    """Module whose blocks can be computed again in the backward pass instead of being kept.

    Attributes:
        gradient_checkpointing: True saves memory in training at the cost of a second forward pass.
    """

    # The names by which diffusers turns it on.
    gradient_checkpointing: bool = False
    _gradient_checkpointing_func: Callable[..., Any] = staticmethod(
        partial(checkpoint, use_reentrant=False)
    )

    def run(self, block: nn.Module, *inputs: Any) -> Any:
        """Call one of the module's blocks."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)


def time_features(times: Tensor, width: int) -> Tensor:
    """Compute cosines, then sines, of times (B,) at frequencies from 1 to almost 1 / 10,000."""
    half = width // 2
    powers = torch.arange(half, dtype=torch.float32, device=times.device) / half
    angles = times.float()[:, None] * torch.exp(-math.log(10_000.0) * powers)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Embed the time: sinusoids through a two-layer network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, 4 * width)

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """Embed times (B,), on a scale of 0 to 1000, as (B, 4 * width)."""
        waves = time_features(t, self.width).to(dtype)
        return self.linear_2(F.silu(self.linear_1(waves)))


class AdaGN(nn.Module):
    """Adaptive GroupNorm: scale and shift come from the latent's embedding, cell by cell."""

    def __init__(self, channels: int, context: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.ctx_proj = nn.Conv2d(context, 2 * channels, 1)

    def forward(self, x: Tensor, context: Tensor, overwrite: bool) -> Tensor:
        """Normalise (B, C, H, W); ``context`` (B, C0, h, w) is projected first, then resized."""
        scale, shift = self.ctx_proj(context).chunk(2, dim=1)
        return modulated_group_norm(x, self.groups, 1e-5, 1 + scale, shift, overwrite)


class TimedGroupNorm(nn.GroupNorm):
    """GroupNorm whose own scale and shift are joined with those of the time: one pass."""

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise (B, C, H, W), which is overwritten; scale and shift are (B, C, 1, 1)."""
        scale = 1 + scale
        weight, bias = (own[:, None, None] for own in (self.weight, self.bias))
        return modulated_group_norm(
            x, self.num_groups, self.eps, weight * scale, bias * scale + shift, overwrite=True
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the latent modulates the first norm and the time the second."""

    def __init__(
        self, in_channels: int, channels: int, context: int, time: int, groups: int
    ) -> None:
        super().__init__()
        self.norm1 = AdaGN(in_channels, context, groups)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, 2 * channels)
        self.norm2 = TimedGroupNorm(groups, channels, eps=1e-5)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, channels, 1) if in_channels != channels else nn.Identity()
        )

    def forward(self, x: Tensor, context: Tensor, time: Tensor, overwrite: bool = False) -> Tensor:
        """Map (B, in, H, W) to (B, out, H, W).

        ``overwrite`` is True if nothing else reads ``x``.
        """
        shortcut = self.conv_shortcut(x)
        h = self.conv1(activate(self.norm1(x, context, overwrite and shortcut is not x)))
        scale, shift = self.time_emb_proj(F.silu(time))[:, :, None, None].chunk(2, dim=1)
        return add(self.conv2(activate(self.norm2(h, scale, shift))), shortcut)


class DownBlock(Checkpointed):
    """Residual blocks on the way down; every feature map is kept as a skip connection."""

    def __init__(self, blocks: list[ResidualBlock], channels: int, resize: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(blocks)
        self.downsamplers = nn.ModuleList()
        if resize:
            strided = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
            self.downsamplers.append(named(conv=strided))

    def forward(self, x: Tensor, context: Tensor, time: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last feature map and all of them, in order."""
        skips = []
        for block in self.resnets:
            x = self.run(block, x, context, time)
            skips.append(x)
        for downsample in self.downsamplers:
            x = downsample(x)
            skips.append(x)
        return x, skips


class DoublingConvolution(nn.Conv2d):
    """3x3 convolution of a map that is doubled by nearest neighbours first, at 4/9 of its cost.

    In the doubled map two of the three taps of an axis fall on the same pixel. Their weights are
    added up instead: four convolutions of 2x2, one for each pixel of a square, on the small map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2H, 2W)."""
        weight, bias = self.weight, self.bias
        assert bias is not None
        taps = _taps(weight, weight.dtype, weight.device)
        folded = torch.einsum("pak,qbl,oikl->pqoiab", taps, taps, weight)
        (batch, _, height, width), channels = x.shape, len(weight)
        out = F.conv2d(x, folded.flatten(0, 2), bias.repeat(4), padding=1)
        out = out.unflatten(1, (4, channels)).permute(1, 0, 3, 4, 2)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            rows = [
                torch.stack(
                    [out[2 * p + q, :, p : p + height, q : q + width] for q in range(2)], dim=3
                )
                for p in range(2)
            ]
            doubled = torch.stack(rows, dim=2)
        else:
            doubled = out.new_empty(batch, height, 2, width, 2, channels)
            for p in range(2):
                for q in range(2):
                    doubled[:, :, p, :, q] = out[2 * p + q, :, p : p + height, q : q + width]
        return doubled.view(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


@kept
def _taps(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the sums of taps, (parity, tap of 2, tap of 3)."""
    sums = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
    return torch.tensor(sums, dtype=dtype, device=device)


class UpBlock(Checkpointed):
    """Residual blocks on the way up; each takes the latest unused skip beside its input."""

    def __init__(self, blocks: list[ResidualBlock], channels: int, resize: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(blocks)
        self.upsamplers = nn.ModuleList()
        if resize:
            self.upsamplers.append(named(conv=DoublingConvolution(channels)))

    def forward(self, maps: list[Tensor], context: Tensor, time: Tensor) -> list[Tensor]:
        """Consume the input and one skip per block from the end of ``maps``.

        The input comes in the list, where it is dropped after its use: a caller's variable would
        keep the largest map alive. Return the maps that are left, and the output at their end: a
        hook of accelerate passes a copy of the list.
        """
        x = maps.pop()
        for block in self.resnets:
            x = torch.cat([x, maps.pop()], dim=1)
            x = self.run(block, x, context, time, True)  # overwrites x
        for upsample in self.upsamplers:
            x = upsample(x)
        return [*maps, x]


class AdaLN(nn.Module):
    """Adaptive LayerNorm of tokens: shift and scale come from the latent's embedding.

    The order is (shift, scale), the opposite of :class:`AdaGN`, as in the released weights.
    """

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, 2 * channels)

    def forward(self, x: Tensor, context: Tensor, grid: tuple[int, int]) -> Tensor:
        """Normalise (B, tokens, C) with the nearest cell of ``context`` (B, C0, h, w)."""
        modulation = self.linear(F.silu(context).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        modulation = F.interpolate(modulation, size=grid, mode="nearest")
        shift, scale = modulation.flatten(2).transpose(1, 2).chunk(2, dim=2)
        return F.layer_norm(x, x.shape[-1:], eps=1e-5) * (1 + scale) + shift


class Attention(nn.Module):
    """Multi-head self-attention of tokens over their neighbourhood."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (
            nn.Linear(channels, channels, bias=False) for _ in range(3)
        )
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, grid: tuple[int, int], bias: Bias) -> Tensor:
        """Map (B, tokens, C) to the same shape."""
        q, k, v = (
            projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection in (self.to_q, self.to_k, self.to_v)
        )
        out = neighbourhood_attention(q, k, v, grid, bias)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    """Linear layer whose first half is gated by the GELU of its second half."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., inner)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class TransformerBlock(nn.Module):
    """Modulated attention, then a plain feed-forward network; the time does not enter."""

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1 = AdaLN(channels, context)
        self.attn1 = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-5)
        self.ff = named(
            proj_in_act=GEGLU(channels, 4 * channels), proj_out=nn.Linear(4 * channels, channels)
        )
        self.relative_position_bias = RelativePositionBias(heads)

    def forward(self, x: Tensor, context: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map (B, tokens, C) to the same shape."""
        # Not the module itself: a hook of accelerate on `attn1` would move it, without weights.
        bias = self.relative_position_bias.__call__
        x = x + self.attn1(self.norm1(x, context, grid), grid, bias)
        return x + self.ff(self.norm2(x))


class MiddleTransformer(Checkpointed):
    """Transformer over the coarsest feature map, one token per cell, with an outer residual."""

    def __init__(self, channels: int, heads: int, depth: int, context: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context) for _ in range(depth)
        )
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        grid = (x.shape[-2], x.shape[-1])
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = self.run(block, tokens, context, grid)
        return x + self.proj_out(tokens).transpose(1, 2).unflatten(2, grid)
