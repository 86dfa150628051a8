"""Training stage: the networks that learn, their loss, and what is kept of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.files import LatentFacts
from ssdd_bench.train.recipe import CropRecipe, OptimiserRecipe, Recipe, StageRecipe

Terms = dict[str, Tensor]
"""Loss terms by name; their sum is minimised."""


class Stage(nn.Module):
    """One training, as the loop sees it.

    A subclass sets ``networks`` in ``__init__``; frozen networks may be further attributes.

    Attributes:
        settings: every setting that decides the training, for the card.
        networks: updated by the optimiser, averaged and exported.
        auxiliary: updated by the same optimiser and handed to the next stage, not exported, such
            as REPA's head.
        config: arguments that a loader builds the networks with, for the card.
        latents: facts for the card of a network of latents; None for tokenizers.
        channels_last: convert the networks to that memory format, in which convolutions are faster;
            on a GPU frozen ones too.
    """

    networks: nn.ModuleDict
    channels_last: ClassVar[bool] = True

    def __init__(
        self, name: str, schedule: StageRecipe, optimiser: OptimiserRecipe, settings: dict[str, Any]
    ) -> None:
        super().__init__()
        self.name, self.schedule, self.optimiser = name, schedule, optimiser
        self.settings = settings
        self.auxiliary = nn.ModuleDict()
        self.config: dict[str, Any] = {}
        self.latents: LatentFacts | None = None

    def train(self, mode: bool = True) -> Stage:
        """Leave everything that does not learn in evaluation mode, such as networks of the loss."""
        super().train(False)
        self.networks.train(mode)
        self.auxiliary.train(mode)
        return self

    def called(self) -> list[nn.Module]:
        """List the modules that :meth:`forward` calls, frozen ones too: those to compile."""
        return list(self.networks.values())

    @abstractmethod
    def forward(
        self, batch: Any, shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the loss of one shard.

        Args:
            batch: data of the shard, on the device of the networks.
            shard: its place, on which all random numbers depend, so that a run can be repeated.
            discriminator: None until it takes part.

        Returns:
            Loss terms; and the arguments of the discriminator's ``forward``.
        """

    def identity(self) -> dict[str, Any]:
        """Return all that a checkpoint must have in common with this stage to be resumed.

        The number of iterations is not among it: a run may be continued beyond its end.
        """
        table = {k: v for k, v in self.settings[self.name].items() if k != "iterations"}
        return {**self.settings, self.name: table}

    def make_discriminator(self) -> tuple[nn.Module, int] | None:
        """Build the discriminator to train against, with the iteration at which it takes part.

        Its ``forward`` takes the mapping that :meth:`forward` returns and returns loss terms.
        """
        return None

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert weights of ``networks`` to the tensors of a weights file."""
        return dict(weights)


class TokenizerStage(Stage):
    """Stage that trains a tokenizer on crops of images."""

    schedule: CropRecipe
    steps: int | None = None  # of the decoder to evaluate with; None for one without steps
    is_final: bool = True  # the best weights of this stage are a finished tokenizer

    def __init__(self, name: str, recipe: Recipe) -> None:
        super().__init__(name, recipe.stage(name), recipe.optimiser, recipe.settings(name))
        self.recipe = recipe

    def generator(self, shard: Shard, device: torch.device) -> torch.Generator:
        """Return a generator on a device, seeded by the number of the shard's first image.

        The numbers depend on the type of device: a run is repeated on the same type only.
        """
        return torch.Generator(device).manual_seed(self.optimiser.seed * 1_000_003 + shard.first)

    @abstractmethod
    def tokenizer(self, weights: Path) -> Tokenizer:
        """Load an exported weights file of this stage as a tokenizer, on the CPU."""


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Sample standard normals in the shape of ``like``, on the generator's device."""
    return torch.randn(like.shape, generator=generator, device=generator.device)
