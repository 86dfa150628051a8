"""What a training stage gives to the loop: networks, a loss, and what to keep of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Stage(ABC):
    """One training: its file says which networks learn and from which loss.

    Attributes:
        name: verb of the command line, and of the exported file.
        iterations: how long the recipe trains.
        lr: constant learning rate.
        networks: what the optimiser updates; the names of its children prefix the exported keys.
    """

    name: str
    iterations: int
    lr: float
    networks: nn.ModuleDict

    @abstractmethod
    def losses(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted terms, whose sum is minimised.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            generator: source of every random number, so that a run can be repeated.
        """

    def exported(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a tokenizer's weights file, from those of ``networks``."""
        return weights

    def config(self) -> dict[str, Any]:
        """What a loader must know to build the networks, for the card."""
        return {}
