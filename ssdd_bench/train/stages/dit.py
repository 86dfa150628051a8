"""DiT on latents: velocity of a flow (SiT) or noise of DDPM (DiT), with dropped labels."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssdd_bench.data.latents import LatentSet, LatentsRecord
from ssdd_bench.errors import OptionError, counted
from ssdd_bench.flow.ddpm import TIMESTEPS, add_noise
from ssdd_bench.flow.path import interpolate, velocity
from ssdd_bench.nn.dit import DiT, make_config
from ssdd_bench.train.batches import Shard, to_device
from ssdd_bench.train.files import LatentFacts, to_half
from ssdd_bench.train.recipe import DiTRecipe
from ssdd_bench.train.stages.base import RandomRows, Stage, Terms

POSITIONS = "pos_embed"  # a fixed table, which every network computes by itself


def latent_batches(
    latents: LatentSet, seed: int, shards: Iterator[Shard], device: torch.device
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Yield normalised latents (size, channels, side, side) and labels (size,) of each shard.

    Every image comes once per epoch, in a new order, flipped at random.
    """
    count = len(latents)

    @lru_cache(maxsize=1)
    def order(epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, epoch]).permutation(count)

    for shard in shards:
        rows = np.array([order(n // count)[n % count] for n in shard.numbers])
        mirrored = np.zeros(shard.size, bool)
        if latents.record.config.flips:
            rng = np.random.default_rng([seed, 1, shard.iteration])
            mirrored = rng.random(shard.batch_size)[shard.rows] < 0.5
        data = latents.record.statistics.normalise(latents.batch(rows, mirrored))
        labels = torch.from_numpy(latents.labels[rows])
        yield to_device(data, device), to_device(labels, device)


def check_enough_images(batch_size: int, images: int) -> None:
    """Refuse more latents in a batch than there are images.

    Raises:
        OptionError: there are fewer.
    """
    if batch_size > images:
        raise OptionError(
            f"batch_size is {batch_size}, more than {counted(images, 'image')}: use more images, "
            "or a recipe with a smaller batch_size"
        )


class DiTStage(Stage):
    """A new DiT for the latents of one tokenizer."""

    channels_last = False

    def __init__(self, recipe: DiTRecipe, record: LatentsRecord) -> None:
        super().__init__("dit", recipe.dit, recipe.optimiser, asdict(recipe))
        self.recipe = recipe.dit
        dit, latents, classes = recipe.dit, record.config, record.config.classes
        check_enough_images(dit.batch_size, latents.n)
        config = make_config(dit.size, dit.patch, latents.side, latents.channels, len(classes))
        self.config = asdict(config)
        self.latents = LatentFacts(
            objective=dit.objective,
            statistics=record.statistics,
            pixels=record.pixels,
            tokenizer=latents.tokenizer,
            encoder_sha256=latents.encoder_sha256,
            f=latents.f,
            classes=classes,
        )
        self.network = DiT(config)
        self.networks = nn.ModuleDict({"dit": self.network})

    def forward(
        self, batch: tuple[Tensor, Tensor], shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the mean squared error of the velocity or of the noise."""
        recipe, (data, labels) = self.recipe, batch
        random = RandomRows(self.optimiser.seed, shard.iteration, shard, data.device)
        noise = random.normal(data)
        dropped = random.uniform() < recipe.label_dropout
        labels = torch.where(dropped, self.network.config.classes, labels)
        if recipe.objective == "ddpm":
            timesteps = random.integers(TIMESTEPS)
            target = noise
            predicted = self.network(add_noise(data, noise, timesteps), timesteps, labels)
        else:
            times = random.uniform() if recipe.times == "uniform" else random.times()
            target = velocity(data, noise)
            predicted = self.network(interpolate(data, noise, times), 1 - times, labels)
        return {"loss": nn.functional.mse_loss(predicted.float(), target)}, {}

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert to float16, without the fixed table of positions."""
        named = {name.removeprefix("dit."): value for name, value in weights.items()}
        return to_half({name: value for name, value in named.items() if name != POSITIONS})
