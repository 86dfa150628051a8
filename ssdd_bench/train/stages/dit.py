"""DiT on latents: velocity of a flow (SiT) or noise of DDPM (DiT), with dropped labels."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssdd_bench.data.latents import LatentSet, LatentsRecord
from ssdd_bench.errors import OptionError
from ssdd_bench.flow.ddpm import TIMESTEPS, add_noise
from ssdd_bench.flow.path import interpolate, velocity
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.nn.dit import DiT, make_config
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.card import LatentFacts
from ssdd_bench.train.checkpoint import to_half
from ssdd_bench.train.recipe import DiTRecipe
from ssdd_bench.train.stages.base import Stage, Terms

POSITIONS = "pos_embed"  # a fixed table, which every network computes by itself


class LatentBatches:
    """Normalised latents and labels: every image once per epoch, in a new order, flipped at random.

    Args:
        latents: of the training set.
        seed: of the order and of the flips.
    """

    def __init__(self, latents: LatentSet, seed: int) -> None:
        self.latents = latents
        self.seed = seed
        self._epoch: tuple[int, NDArray[np.int64]] = -1, np.empty(0, np.int64)

    def batches(self, shards: Iterator[Shard]) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Yield latents (size, channels, side, side) and labels (size,) of each shard."""
        for shard in shards:
            rows = self._rows(shard.iteration, shard.batch_size)
            mirrored = np.zeros(len(rows), bool)
            if self.latents.record.config.flips:
                rng = np.random.default_rng([self.seed, 1, shard.iteration])
                mirrored = rng.random(len(rows)) < 0.5
            rows, mirrored = rows[shard.rows], mirrored[shard.rows]
            data = self.latents.record.statistics.normalise(self.latents.batch(rows, mirrored))
            yield data, torch.from_numpy(self.latents.labels[rows])

    def _rows(self, iteration: int, batch_size: int) -> NDArray[np.int64]:
        """Return the images of a whole batch."""
        count = len(self.latents)
        places = np.arange(iteration * batch_size, (iteration + 1) * batch_size)
        rows = np.empty(len(places), np.int64)
        for epoch in np.unique(places // count):
            here = places // count == epoch
            rows[here] = self._order(int(epoch))[places[here] % count]
        return rows

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return a permutation of the images; the latest one is kept."""
        if self._epoch[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.latents))
            self._epoch = epoch, order
        return self._epoch[1]


class DiTStage(Stage):
    """A new DiT for the latents of one tokenizer.

    Random numbers are sampled for the whole batch and cut into shards, so the number of processes
    changes the weights by rounding only.

    Args:
        recipe: every number.
        record: description of the latents.

    Raises:
        OptionError: the size or the patch does not fit the latents, or a batch is larger than the
            training set.
    """

    channels_last = False

    def __init__(self, recipe: DiTRecipe, record: LatentsRecord) -> None:
        super().__init__("dit", recipe.dit, recipe.optimiser)
        self.recipe, self.record = recipe, record
        latents, classes = record.config, len(record.config.classes)
        if recipe.dit.batch_size > latents.n:
            raise OptionError(
                f"batch_size is {recipe.dit.batch_size} and there are {latents.n} images: use more "
                "images, or a recipe with a smaller batch_size"
            )
        size, patch = recipe.dit.size, recipe.dit.patch
        config = make_config(size, patch, latents.side, latents.channels, classes)
        self.network = DiT(config)
        self.networks = nn.ModuleDict({"dit": self.network})

    def forward(
        self, batch: tuple[Tensor, Tensor], shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the mean squared error of the velocity or of the noise."""
        recipe, (data, labels) = self.recipe.dit, batch
        seed = self.optimiser.seed * 1_000_003 + shard.iteration
        generator, n = torch.Generator().manual_seed(seed), shard.batch_size

        def own(values: Tensor) -> Tensor:
            return values[shard.rows].to(data.device)

        noise = own(torch.randn((n, *data.shape[1:]), generator=generator))
        dropped = own(torch.rand(n, generator=generator) < recipe.label_dropout)
        labels = torch.where(dropped, self.network.config.classes, labels)
        if recipe.objective == "ddpm":
            timesteps = own(torch.randint(TIMESTEPS, (n,), generator=generator))
            target = noise
            predicted = self.network(add_noise(data, noise, timesteps), timesteps, labels)
        else:
            if recipe.times == "uniform":
                times = own(torch.rand(n, generator=generator))
            else:
                times = own(logit_normal_times(n, generator))
            target = velocity(data, noise)
            predicted = self.network(interpolate(data, noise, times), 1 - times, labels)
        return {"loss": nn.functional.mse_loss(predicted.float(), target)}, {}

    def settings(self) -> dict[str, Any]:
        """Return the recipe."""
        return asdict(self.recipe)

    def identity(self) -> dict[str, Any]:
        """Add the latents: a checkpoint continues on the same ones only."""
        return {**super().identity(), "latents": asdict(self.record.config)}

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert to float16, without the fixed table of positions."""
        named = {name.removeprefix("dit."): value for name, value in weights.items()}
        return to_half({name: value for name, value in named.items() if name != POSITIONS})

    def config(self) -> dict[str, Any]:
        """Return the shape of the network."""
        return asdict(self.network.config)

    def latent_facts(self) -> LatentFacts:
        """Return the objective, and the facts that stand beside the latents."""
        latents = self.record.config
        return LatentFacts(
            objective=self.recipe.dit.objective,
            statistics=self.record.statistics,
            pixels=self.record.pixels,
            tokenizer=latents.tokenizer,
            encoder_sha256=latents.encoder_sha256,
            f=latents.f,
            classes=latents.classes,
        )
