"""Tensors that networks compute from nothing, made once for each device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

P = ParamSpec("P")


def kept(make: Callable[P, Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Keep what a function makes, so that a GPU is waited for once only.

    The function that is returned takes a tensor of the network first. Nothing is kept within a
    compiled graph, which computes constants where it reads them, and where that tensor has no data.
    """
    cached = cache(torch.inference_mode(False)(make))

    @wraps(make)
    def constant(like: Tensor, /, *arguments: P.args, **more: P.kwargs) -> Tensor:
        lost = torch.compiler.is_compiling() or isinstance(like, FakeTensor)
        return (make if lost else cached)(*arguments, **more)  # type: ignore[arg-type]

    return constant
