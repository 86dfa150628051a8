"""Group norms with an external scale and shift, from a latent or from the time.

PyTorch's group norms of ``channels_last`` maps are slow on a CPU. There this module has its own
backward pass, and in inference one pass over a large map for the statistics and one for the rest.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def modulated_group_norm(
    x: Tensor, groups: int, eps: float, scale: Tensor, shift: Tensor, overwrite: bool = False
) -> Tensor:
    """Compute ``group_norm(x) * scale + shift`` in the precision of ``x``.

    Args:
        x: (B, C, H, W).
        groups: of the norm.
        eps: of the norm.
        scale: (B, C, h, w), of which a pixel takes the nearest cell; (B, C, 1, 1) for one per map.
        shift: as ``scale``.
        overwrite: True if nothing else reads ``x``; the result may then take its memory.
    """
    scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    if _trains_on_cpu(x) and _covers_squares(x, scale):
        return _ModulatedGroupNorm.apply(x, groups, eps, scale, shift)
    if _joins_passes(x):
        mean, reciprocal = _moments(x, groups, eps)
        scale = scale * reciprocal
        return _modulate(x, scale, shift - mean * scale, x if overwrite else torch.empty_like(x))
    y = F.group_norm(x, groups, eps=eps)
    return _modulate(y, scale, shift, y)


class GroupNorm(nn.GroupNorm):
    """PyTorch's group norm, with this module's passes on a CPU."""

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        """Normalise (B, C, H, W); ``overwrite`` is True if nothing else reads ``x``."""
        if not (_trains_on_cpu(x) or (overwrite and _joins_passes(x))):
            return super().forward(x)
        scale, shift = (
            own.expand(len(x), -1)[:, :, None, None] for own in (self.weight, self.bias)
        )
        return modulated_group_norm(x, self.num_groups, self.eps, scale, shift, overwrite)


def _eager_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _trains_on_cpu(x: Tensor) -> bool:
    return _eager_on_cpu(x) and torch.is_grad_enabled()


def _joins_passes(x: Tensor) -> bool:
    """Return True if the scale takes in the reciprocal of the deviation, and the shift the mean.

    PyTorch's norm of such maps loses digits, the more the larger they are. In bfloat16 the shift
    of a map whose mean is large would be rounded too coarsely. Small maps stay in the cache, where
    passes are cheap.
    """
    return (
        _eager_on_cpu(x)
        and not torch.is_grad_enabled()
        and x.dtype == torch.float32
        and x[0].numel() >= LARGE
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


LARGE = 2**19  # elements of a map that is larger than the cache
STRIP = 2**20  # elements of rows that stay in the cache
COLUMNS = 16  # neighbours that become channels of their own: sums are shorter and vectors longer


def _moments(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Compute the mean of each group and the reciprocal of its deviation, each (B, C, 1, 1).

    The statistics of batch norms, channel by channel and strip by strip, are the fast ones of
    maps in ``channels_last``; all have equally many pixels, so their means are averaged.
    """
    fitting = max(1, STRIP // x[0, :, 0].numel())
    rows = math.gcd(x.shape[2], 2 ** (fitting.bit_length() - 1))
    columns = math.gcd(x.shape[3], COLUMNS)
    apart = x.permute(0, 2, 3, 1).unflatten(2, (-1, columns)).flatten(3).permute(0, 3, 1, 2)
    cells = [
        torch.ops.aten.batch_norm_update_stats(strip, None, None, 0.0)
        for image in apart.split(1)
        for strip in image.split(rows, dim=2)
    ]
    shape = (len(x), -1, groups, x.shape[1] // groups)  # the second: strips, and columns of each
    means, variances = (torch.stack(found).view(shape) for found in zip(*cells, strict=True))
    spread, mean = torch.var_mean(means, dim=(1, 3), correction=0)
    reciprocal = torch.rsqrt(variances.mean(dim=(1, 3)) + spread + eps)
    mean, reciprocal = (
        of_group.repeat_interleave(shape[3], dim=1)[:, :, None, None]
        for of_group in (mean, reciprocal)
    )
    return mean, reciprocal


class _ModulatedGroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, groups: int, eps: float, scale: Tensor, shift: Tensor
    ) -> Tensor:
        batch, channels, height, width = x.shape
        y, _, reciprocal = torch.native_group_norm(
            x, None, None, batch, channels, height * width, groups, eps
        )
        ctx.save_for_backward(y, reciprocal, scale)
        return torch.addcmul(_spread(shift, y), y, _spread(scale, y))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor]:
        y, reciprocal, scale = ctx.saved_tensors
        in_group = y.shape[1] // reciprocal.shape[1]
        of_channels = reciprocal.repeat_interleave(in_group, dim=1)[:, :, None, None]
        to_scale, to_shift = _sums(gradient * y, scale), _sums(gradient, scale)

        def group_means(sums: Tensor) -> Tensor:
            """Average the gradient at the normalised map over groups, from its sums over cells."""
            total = (scale * sums).sum(dim=(2, 3)).unflatten(1, (-1, in_group)).sum(dim=2)
            means = total / (in_group * y[0, 0].numel())
            return means.repeat_interleave(in_group, dim=1)[:, :, None, None] * of_channels

        dtype = gradient.dtype
        from_group = torch.addcmul(
            -group_means(to_shift).to(dtype), y, -group_means(to_scale).to(dtype)
        )
        to_x = from_group.addcmul_(gradient, _spread((scale * of_channels).to(dtype), y))
        return to_x, None, None, to_scale.to(scale.dtype), to_shift.to(scale.dtype)


def _sums(x: Tensor, cells: Tensor) -> Tensor:
    """Sum (B, C, H, W) over the squares that each of ``cells`` covers, in float32 or better."""
    height, width = (side // few for side, few in zip(x.shape[2:], cells.shape[2:], strict=True))
    means = F.avg_pool2d(x, (height, width))
    return means.to(torch.promote_types(x.dtype, torch.float32)) * (height * width)


def _spread(cells: Tensor, x: Tensor) -> Tensor:
    """Resize ``cells`` to the size of ``x``, nearest cell; a single one is left to broadcasting."""
    if cells.shape[2:] == (1, 1):
        return cells
    return F.interpolate(cells, size=x.shape[2:], mode="nearest")


def _covers_squares(x: Tensor, cells: Tensor) -> bool:
    """Return True if each of ``cells`` covers a rectangle of whole pixels of ``x``."""
    return all(side % few == 0 for side, few in zip(x.shape[2:], cells.shape[2:], strict=True))


def _modulate(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """Compute ``x * scale + shift``, in ``out`` unless gradients or a compiler need a new map.

    Where each cell covers whole rectangles of pixels, no other map of that size is allocated.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.addcmul(_spread(shift, x), x, _spread(scale, x))
    if scale.shape[2:] == (1, 1) or not _covers_squares(x, scale):
        return torch.addcmul(_spread(shift, x), x, _spread(scale, x), out=out)
    rows, columns = scale.shape[2:]
    cells, target = (m.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)) for m in (x, out))
    scale, shift = (m[:, :, :, None, :, None] for m in (scale, shift))
    torch.addcmul(shift, cells, scale, out=target)
    return out
