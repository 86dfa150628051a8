"""Training stage: the networks that learn, their loss, and what is kept of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.files import LatentFacts
from ssdd_bench.train.recipe import CropRecipe, OptimiserRecipe, Recipe, StageRecipe

Terms = dict[str, Tensor]
"""Loss terms by name; their sum is minimised."""


class RandomRows:
    """Random numbers of a shard: sampled for the whole batch, of which its rows are kept.

    So an image has the same ones in any cut of the batch into processes and passes. They are
    sampled on the device, and depend on its type: a run is repeated on the same type only.

    Args:
        seed: of the training.
        key: that no other batch of the training has.
        shard: whose rows are kept.
        device: of the numbers.
    """

    def __init__(self, seed: int, key: int, shard: Shard, device: torch.device) -> None:
        self.shard = shard
        self.generator = torch.Generator(device).manual_seed(seed * 1_000_003 + key)

    def normal(self, like: Tensor) -> Tensor:
        """Sample standard normals in the shape of ``like``, whose rows are those of the shard."""
        return self._rows(self._sample(torch.randn, *like.shape[1:]))

    def uniform(self) -> Tensor:
        """Sample a number in [0, 1) for each row: (size,)."""
        return self._rows(self._sample(torch.rand))

    def integers(self, end: int) -> Tensor:
        """Sample an integer from 0 to ``end``, exclusive, for each row: (size,)."""
        return self._rows(self._sample(partial(torch.randint, end)))

    def times(self, mean: float = 0.0, std: float = 1.0) -> Tensor:
        """Sample a training time for each row, see :func:`logit_normal_times`: (size,)."""
        return self._rows(logit_normal_times(self.shard.batch_size, self.generator, mean, std))

    def _sample(self, sample: Callable[..., Tensor], *shape: int) -> Tensor:
        size = (self.shard.batch_size, *shape)
        return sample(size, generator=self.generator, device=self.generator.device)

    def _rows(self, batch: Tensor) -> Tensor:
        """Keep the shard's rows, in memory of their own so that those of others are freed."""
        return batch if self.shard.size == len(batch) else batch[self.shard.rows].clone()


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
            shard: its place, on which all random numbers depend by :class:`RandomRows` alone, so
                that a run can be repeated, on another number of processes too.
            discriminator: None until it takes part.

        Returns:
            Loss terms; and the arguments of the discriminator's ``forward``.
        """

    def identity(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must have in common with this stage.

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

    def random(self, shard: Shard, device: torch.device) -> RandomRows:
        """Return a source of random numbers, keyed by the number of the batch's first image."""
        key = shard.iteration * shard.batch_size
        return RandomRows(self.optimiser.seed, key, shard, device)

    @abstractmethod
    def tokenizer(self, weights: Path) -> Tokenizer:
        """Load an exported weights file of this stage as a tokenizer, on the CPU."""
