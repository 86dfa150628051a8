"""Weights in eight bits: blocks of 32 whole numbers with a common scale, half the size of float16.

The same arithmetic as GGUF's type Q8_0. A product of an int8 and a float16 is exact in float32, so
what is read is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ssdd_bench.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

BLOCK: Final = 32  # successive weights
SCALES: Final = ".q8_scales"  # ends the name of the scales, after that of the whole numbers
_SMALLEST: Final = 2.0**-17  # scale: smaller ones have too few digits in float16
_LEAST: Final = 1024  # weights of a tensor that is worth it; norms and biases stay as they are


def pack(weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Store large tensors as int8 of their shape, and float16 scales of shape (blocks,).

    Each weight is off by half a step at most: 1/254 of the largest of its block, or 4e-6.

    Args:
        weights: floating-point tensors by name.
        prefix: of the names of tensors that are packed.
    """
    import torch

    packed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if not name.startswith(prefix) or value.numel() < _LEAST or value.numel() % BLOCK:
            packed[name] = value
            continue
        blocks = value.detach().to(torch.float32).reshape(-1, BLOCK)
        scales = (blocks.abs().amax(1) / 127).to(torch.float16).clamp(min=_SMALLEST)
        whole = (blocks / scales.float()[:, None]).round().clamp(-127, 127)
        packed[name] = whole.to(torch.int8).reshape(value.shape)
        packed[name + SCALES] = scales
    return packed


def unpack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Restore what :func:`pack` has packed, as float32; other tensors are left as they are.

    Raises:
        WeightsError: scales without their whole numbers, or of another length.
    """
    import torch

    found = {name: value for name, value in weights.items() if not name.endswith(SCALES)}
    for key in weights.keys() - found.keys():
        name, scales = key.removesuffix(SCALES), weights[key]
        whole = found.get(name)
        if whole is None or whole.dtype != torch.int8 or whole.numel() != BLOCK * scales.numel():
            raise WeightsError(f"{key} are not the scales of int8 weights '{name}'")
        blocks = whole.to(torch.float32).reshape(-1, BLOCK) * scales.float().reshape(-1, 1)
        found[name] = blocks.reshape(whole.shape)
    return found
