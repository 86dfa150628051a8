"""What a training stage gives to the loop: networks, a loss, and what to keep of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssdd_bench.train.recipe import Recipe, StageRecipe


class Stage(nn.Module):
    """One training: its file says which networks learn and from which loss.

    A subclass sets, in ``__init__``, the attributes below; frozen networks may be further
    attributes.

    Args:
        name: of the stage, a table of the recipe.
        recipe: every number.

    Attributes:
        networks: the tokenizer; what the optimiser updates, is averaged and exported.
        helper: trained by the same optimiser and handed to the next stage, not exported: REPA's
            head.
        exports: ``ssdd`` or ``klvae``, whose plugin loads the exported file.
    """

    networks: nn.ModuleDict
    helper: nn.ModuleDict
    exports: Literal["ssdd", "klvae"]

    def __init__(self, name: str, recipe: Recipe) -> None:
        super().__init__()
        self.name = name
        self.recipe = recipe
        self.schedule: StageRecipe = recipe.stage(name)
        self.helper = nn.ModuleDict()

    def critic(self) -> nn.Module | None:
        """The discriminator that this stage trains against, made once; None without one.

        Its ``forward`` takes the mapping that :meth:`forward` gives it and returns loss terms.
        """
        return None

    @abstractmethod
    def forward(
        self, images: Tensor, generator: torch.Generator, critic: nn.Module | None
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        """Loss terms, whose sum is minimised, and what the discriminator is shown.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            generator: on the CPU; source of every random number, so that a run can be repeated.
            critic: the discriminator once it takes part, else None.
        """

    def discriminator_starts(self) -> int | None:
        """Iterations before the discriminator takes part; None where there is none."""
        return None

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a tokenizer's weights file, from those of ``networks``."""
        return dict(weights)

    def config(self) -> dict[str, Any]:
        """What a loader must know to build the networks, for the card."""
        return {}

    def steps(self) -> int | None:
        """Steps of the decoder to evaluate with; None where the word has no meaning."""
        return None


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normals of the shape and on the device of ``like``, drawn on the CPU."""
    return torch.randn(like.shape, generator=generator).to(like.device)
