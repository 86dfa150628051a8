"""Compilation of a stage's networks on a GPU, and what the kernels of a device can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._functorch.config
from torch import nn


def compile_networks(
    networks: Iterable[nn.Module], backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile networks in place, each as it is called, for batches of one size.

    The adaptive weight of an adversarial loss keeps the graph of the forward pass for a second
    backward pass, so buffers are not donated to the first one.
    """
    torch._functorch.config.donated_buffer = False
    for network in networks:
        network.compile(backend=backend, dynamic=False)


@contextmanager
def tuned_convolutions() -> Iterator[None]:
    """Let cuDNN try its algorithms for each shape, which the scores of a training must not."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies in bfloat16 itself.

    PyTorch imitates it on any other CPU, where training takes ten times as long as in float32.
    """
    if device.type != "cpu":
        return True
    has_kernels = torch.backends.mkldnn.is_available()
    return has_kernels and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
