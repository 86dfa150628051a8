"""Formats of numbers and of memory that networks compute in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def choose_memory_format(
    network: nn.Module, device: torch.device | str, dtype: torch.dtype
) -> tuple[torch.memory_format, str]:
    """Choose the memory format of a network by what is faster, and say why.

    Inputs need no conversion: a convolution whose weights are channels-last converts its input.

    Args:
        network: any module.
        device: that it runs on.
        dtype: of its weights.

    Returns:
        ``torch.channels_last`` or ``torch.contiguous_format``, and the reason.
    """
    kind, half = torch.device(device).type, dtype in (torch.bfloat16, torch.float16)
    dimensions = {parameter.dim() for parameter in network.parameters()}
    if 4 not in dimensions:
        return torch.contiguous_format, "no convolution"
    if 5 in dimensions:
        return torch.contiguous_format, "no channels-last format of videos"
    if kind == "cpu" and dtype in (torch.float32, torch.bfloat16):
        return torch.channels_last, "oneDNN convolves channels-last maps faster"
    if kind == "cuda" and half:
        return torch.channels_last, "tensor cores read channels-last maps"
    return torch.contiguous_format, "no faster kernels for channels-last maps"


def has_kernels(dtype: torch.dtype, device: torch.device | str) -> bool:
    """Tell whether a device multiplies in a number format itself.

    PyTorch imitates half precision on any other CPU, where a convolution takes many times as long
    as in float32.
    """
    if torch.device(device).type != "cpu" or dtype not in (torch.bfloat16, torch.float16):
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def set_memory_format(networks: Iterable[nn.Module]) -> None:
    """Convert each network to the format of :func:`choose_memory_format` for where it lies."""
    for network in networks:
        first = next((one for one in network.parameters() if one.dim() == 4), None)
        if first is not None:
            chosen, _ = choose_memory_format(network, first.device, first.dtype)
            network.to(memory_format=chosen)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let CUDA's convolutions and matrix products round to TF32, or not, for a while.

    The settings before are restored, whichever of PyTorch's two interfaces they were made with.
    """
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    switches: list[tuple[Any, str, Any]]
    if hasattr(cuda, "fp32_precision"):
        precision = "tf32" if allowed else "ieee"
        parts = (cuda, cudnn.conv, cudnn.rnn)  # type: ignore[attr-defined]
        switches = [(part, "fp32_precision", precision) for part in parts]
    else:  # before PyTorch 2.9
        switches = [(part, "allow_tf32", allowed) for part in (cuda, cudnn)]
    before = [getattr(part, name) for part, name, _ in switches]
    try:
        for part, name, value in switches:
            setattr(part, name, value)
        yield
    finally:
        for (part, name, _), value in zip(switches, before, strict=True):
            setattr(part, name, value)
