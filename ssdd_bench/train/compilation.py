"""Compilation of a stage's networks on a GPU, and its choice of convolutions."""

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
