"""Train a DiT on latents: one readable loop.

Order, flips, noise, times and dropped labels depend on the seed and the iteration only, so a run
that is stopped and resumed ends in the same weights as one that is not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssdd_bench import __version__
from ssdd_bench.data.latents import LatentSet
from ssdd_bench.errors import OptionError, UserError, WeightsError
from ssdd_bench.evaluation.environment import hide_home
from ssdd_bench.flow.ddpm import TIMESTEPS, add_noise
from ssdd_bench.flow.path import interpolate, velocity
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.nn.dit import DiT, make_config
from ssdd_bench.nn.ema import EMA
from ssdd_bench.train.checkpoint import save_checkpoint
from ssdd_bench.train.dit_recipe import DiTRecipe
from ssdd_bench.train.interrupts import stop_requests
from ssdd_bench.train.latent_model import DiTCard, read_card, save_dit

CHECKPOINT_SECONDS = 180.0
LOG_EVERY = 50


@dataclass(frozen=True)
class Progress:
    """Where a training stands: iterations done, mean loss since the last report, seconds."""

    iteration: int
    loss: float
    seconds: float


class DiTTrainer:
    """Trains a network; iterate over :meth:`run` to do it and to see how it goes.

    Args:
        latents: of the training set.
        recipe: every number of the training.
        out: folder for ``checkpoint.pt``, ``metrics.jsonl``, ``dit.safetensors`` and its card.
        device: where to train.
        command: what the user typed, for the card.

    Raises:
        OptionError: the size or the patch does not fit, or the latents were encoded without
            labels that the recipe needs.
    """

    def __init__(
        self,
        latents: LatentSet,
        recipe: DiTRecipe,
        out: Path,
        device: torch.device,
        command: str = "",
    ) -> None:
        plan = latents.record.plan
        if recipe.batch_size > len(latents):
            raise OptionError(
                f"a batch of {recipe.batch_size} from {len(latents)} images: give more images, or "
                "a recipe with a smaller batch_size"
            )
        self.latents = latents
        self.recipe = recipe
        self.out = out
        self.device = device
        self.command = command
        self.iteration = 0
        self.seconds = 0.0
        classes = len(plan.classes)
        self.config = make_config(recipe.size, recipe.patch, plan.side, plan.channels, classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = DiT(self.config).to(device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        self.ema = EMA(recipe.ema_decay, start=1)
        self._epoch: tuple[int, NDArray[np.int64]] = -1, np.empty(0, np.int64)

    @property
    def checkpoint_path(self) -> Path:
        """File that :meth:`resume` continues from."""
        return self.out / "checkpoint.pt"

    @property
    def weights_path(self) -> Path:
        """File that samples are drawn with."""
        return self.out / "dit.safetensors"

    def resume(self) -> None:
        """Continue from the checkpoint in ``out``, if there is one.

        Raises:
            WeightsError: it is damaged.
            UserError: it belongs to another recipe or other latents.
        """
        if not self.checkpoint_path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(
                self.checkpoint_path, weights_only=True, map_location=self.device
            )
            same = state["identity"] == self._identity()
        except Exception as error:
            raise WeightsError(
                f"{self.checkpoint_path} is no checkpoint of a DiT: delete it to start again"
            ) from error
        if not same:
            raise UserError(
                f"{self.checkpoint_path} was made by another recipe or from other latents: choose "
                "another --out, or --restart to overwrite it"
            )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.weights = state["ema"]
        self.iteration, self.seconds = state["iteration"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint, then the weights and their card."""
        state = {
            "identity": self._identity(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.weights,
            "iteration": self.iteration,
            "seconds": self.seconds,
        }
        save_checkpoint(self.checkpoint_path, state)
        weights = self.ema.weights or self.network.state_dict()
        save_dit(self.weights_path, weights, self._card())

    def step(self) -> float:
        """One iteration; returns the loss."""
        recipe = self.recipe
        data, labels = self._batch(self.iteration)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.iteration)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bf16):
            loss = self._loss(data, labels, generator)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is {loss.item()} at iteration {self.iteration}: take a smaller lr; the "
                f"last good state is {self.checkpoint_path}"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.lr * min(1.0, (self.iteration + 1) / max(recipe.warmup, 1))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimiser.step()
        self.iteration += 1
        self.ema.update(self.network.state_dict(), self.iteration)
        return loss.item()

    def run(self, iterations: int, seconds: float = float("inf")) -> Iterator[Progress]:
        """Train up to ``iterations`` or ``seconds`` in all, whichever ends first.

        Writes a checkpoint every three minutes, at the end, and on SIGINT or SIGTERM, after which
        ``KeyboardInterrupt`` is raised.
        """
        self.network.train()
        first, started, before = self.iteration, time.monotonic(), self.seconds
        saved, total, count = started, 0.0, 0
        with stop_requests() as stop:
            while self.iteration < iterations and self.seconds < seconds and not stop:
                total, count = total + self.step(), count + 1
                self.seconds = before + time.monotonic() - started
                if count == LOG_EVERY or self.iteration == iterations:
                    progress = Progress(self.iteration, total / count, self.seconds)
                    self._log(progress)
                    yield progress
                    total, count = 0.0, 0
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
            if self.iteration > first or not self._is_saved():
                self.save()
            if stop:
                raise KeyboardInterrupt

    def _is_saved(self) -> bool:
        """Whether the weights in ``out`` are of this iteration: then their card stays as it is."""
        try:
            card = read_card(self.weights_path.with_suffix(".json"))
        except UserError:  # none, or damaged
            return False
        done = card.training.get("iterations") == self.iteration
        return done and self.weights_path.exists()

    def _loss(self, data: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the velocity or of the noise."""
        recipe, n = self.recipe, len(data)
        noise = torch.randn(data.shape, generator=generator).to(self.device)
        dropped = torch.rand(n, generator=generator) < recipe.label_dropout
        labels = torch.where(dropped, self.config.classes, labels).to(self.device)
        if recipe.objective == "ddpm":
            levels = torch.randint(TIMESTEPS, (n,), generator=generator).to(self.device)
            predicted = self.network(add_noise(data, noise, levels), levels, labels)
            return nn.functional.mse_loss(predicted.float(), noise)
        if recipe.times == "uniform":
            times = torch.rand(n, generator=generator)
        else:
            times = logit_normal_times(n, generator)
        times = times.to(self.device)
        predicted = self.network(interpolate(data, noise, times), 1 - times, labels)
        return nn.functional.mse_loss(predicted.float(), velocity(data, noise))

    def _batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Normalised latents and labels of an iteration: a pure function of it and the seed."""
        recipe, count = self.recipe, len(self.latents)
        places = np.arange(iteration * recipe.batch_size, (iteration + 1) * recipe.batch_size)
        rows = np.empty(len(places), np.int64)
        for epoch in np.unique(places // count):
            here = places // count == epoch
            rows[here] = self._order(int(epoch))[places[here] % count]
        mirrored = np.zeros(len(rows), bool)
        if self.latents.record.plan.flips:
            mirrored = np.random.default_rng([recipe.seed, 1, iteration]).random(len(rows)) < 0.5
        data = self.latents.record.statistics.normalise(self.latents.batch(rows, mirrored))
        return data.to(self.device), torch.from_numpy(self.latents.labels[rows])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Every image once, shuffled; kept while it is in use."""
        if self._epoch[0] != epoch:
            order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.latents))
            self._epoch = epoch, order
        return self._epoch[1]

    def _identity(self) -> str:
        """What must be the same for a run to go on; its length may grow."""
        recipe = asdict(self.recipe)
        del recipe["iterations"]
        plan = asdict(self.latents.record.plan)
        return json.dumps([recipe, plan], sort_keys=True)

    def _card(self) -> DiTCard:
        record = self.latents.record
        return DiTCard(
            config=self.config,
            objective=self.recipe.objective,
            statistics=record.statistics,
            pixels=record.pixels,
            tokenizer=record.plan.tokenizer,
            encoder_sha256=record.plan.encoder_sha256,
            f=record.plan.f,
            classes=record.plan.classes,
            training={
                "recipe": asdict(self.recipe),
                "iterations": self.iteration,
                "images_seen": self.iteration * self.recipe.batch_size,
                "seconds": round(self.seconds),
                "threads": torch.get_num_threads(),
                "device": self.device.type,
                "data": record.plan.data,
                "images": record.plan.n,
                "command": hide_home(self.command),
                "version": __version__,
                "torch": str(torch.__version__),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "licence": "Apache-2.0",
            },
        )

    def _log(self, progress: Progress) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
