"""Exponential moving average of a network's weights."""

from __future__ import annotations

from torch import Tensor


class EMA:
    """Follow the weights of a state dict; a copy of the latest ones until ``start``.

    After ``start`` the decay grows with the iterations n as ``(1 + n) / (10 + n)`` up to
    ``decay``.

    Args:
        decay: weight of the past, in [0, 1).
        start: iterations before averaging begins.
    """

    def __init__(self, decay: float, start: int) -> None:
        self.decay = decay
        self.start = start
        self.weights: dict[str, Tensor] = {}

    def averages_at(self, iteration: int) -> bool:
        """Whether ``update`` must see the weights of this iteration."""
        return iteration >= self.start - 1  # the copy that the first average starts from

    def update(self, state: dict[str, Tensor], iteration: int) -> None:
        """Take in the weights after ``iteration`` (counted from 1) has ended."""
        if not self.weights or iteration < self.start:
            self.weights = {name: value.detach().clone() for name, value in state.items()}
            return
        past = iteration - self.start
        decay = min(self.decay, (1 + past) / (10 + past))
        for name, value in state.items():
            if value.is_floating_point():
                self.weights[name].lerp_(value.detach(), 1 - decay)
            else:
                self.weights[name].copy_(value)
