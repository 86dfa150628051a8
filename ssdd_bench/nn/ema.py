"""Exponential moving average of weights."""

from __future__ import annotations

import torch
from torch import Tensor


class EMA:
    """Moving average of a state dict; a copy of the latest weights until iteration ``start``.

    The weight of the past grows with the number n of iterations since then as
    ``(1 + n) / (10 + n)``, up to ``decay``.
    """

    def __init__(self, decay: float, start: int) -> None:
        self.decay = decay
        self.start = start
        self.weights: dict[str, Tensor] = {}

    def averages_at(self, iteration: int) -> bool:
        """Return True if ``update`` must see the weights of this iteration."""
        return iteration >= self.start - 1  # the first average starts from this copy

    def update(self, state: dict[str, Tensor], iteration: int) -> None:
        """Add the weights at the end of ``iteration``, counted from 1."""
        if not self.weights or iteration < self.start:
            self.weights = {name: value.detach().clone() for name, value in state.items()}
            return
        past = iteration - self.start
        decay = min(self.decay, (1 + past) / (10 + past))
        averaged = [name for name, value in state.items() if value.is_floating_point()]
        latest = [state[name].detach() for name in averaged]
        torch._foreach_lerp_([self.weights[name] for name in averaged], latest, 1 - decay)
        for name in state.keys() - set(averaged):
            self.weights[name].copy_(state[name])
