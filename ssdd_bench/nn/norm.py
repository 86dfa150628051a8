"""Group norms with an external scale and shift, from a latent or from the time.

PyTorch's backward pass of a group norm is slow for ``channels_last`` maps on a CPU; there the one
of this module takes its place.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def modulated_group_norm(
    x: Tensor, groups: int, eps: float, scale: Tensor, shift: Tensor
) -> Tensor:
    """Compute ``group_norm(x) * scale + shift`` in the precision of ``x``.

    Args:
        x: (B, C, H, W).
        groups: of the norm.
        eps: of the norm.
        scale: (B, C, h, w), of which a pixel takes the nearest cell; (B, C, 1, 1) for one per map.
        shift: as ``scale``.
    """
    scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    whole = all(side % cells == 0 for side, cells in zip(x.shape[2:], scale.shape[2:], strict=True))
    if whole and _trains_on_cpu(x):
        return _ModulatedGroupNorm.apply(x, groups, eps, scale, shift)
    return _modulate(F.group_norm(x, groups, eps=eps), scale, shift)


class GroupNorm(nn.GroupNorm):
    """PyTorch's group norm, with the backward pass of this module on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if not _trains_on_cpu(x):
            return super().forward(x)
        scale, shift = (
            own.expand(len(x), -1)[:, :, None, None] for own in (self.weight, self.bias)
        )
        return modulated_group_norm(x, self.num_groups, self.eps, scale, shift)


def _trains_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_grad_enabled()


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


def _modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Compute ``x * scale + shift``, in place unless gradients need ``x``.

    Where each cell covers whole squares of pixels, no map of the size of ``x`` is allocated.
    """
    times = x.shape[-1] // scale.shape[-1]
    squares = times > 1 and x.shape[2:] == tuple(times * side for side in scale.shape[2:])
    if not squares:
        return torch.addcmul(_spread(shift, x), x, _spread(scale, x))
    cells = x.unflatten(3, (-1, times)).unflatten(2, (-1, times))
    scale, shift = (m[:, :, :, None, :, None] for m in (scale, shift))
    if torch.is_grad_enabled():
        return torch.addcmul(shift, cells, scale).flatten(4, 5).flatten(2, 3)
    torch.addcmul(shift, cells, scale, out=cells)
    return x
