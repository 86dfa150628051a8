"""The training loop: the same for every stage.

Batches, noise and times depend on the seed and the iteration only, so a run that is stopped and
resumed ends in the same weights as one that is not.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import schedulefree
import torch
from torch import Tensor, nn

from ssdd_bench import __version__
from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.nn.ema import EMA
from ssdd_bench.train.checkpoint import export, load_checkpoint, save_checkpoint
from ssdd_bench.train.crops import CropStream
from ssdd_bench.train.recipe import OptimiserRecipe
from ssdd_bench.train.stage import Stage

CHECKPOINT_SECONDS = 180.0
LOG_EVERY = 10


@dataclass(frozen=True)
class TrainState:
    """Where a training stands, for a progress display.

    Attributes:
        iteration: iterations done.
        losses: weighted terms, averaged since the previous report.
        seconds: of training in all, over every resumption.
    """

    iteration: int
    losses: dict[str, float]
    seconds: float


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them, so that a checkpoint is written."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_optimiser(
    networks: nn.Module, recipe: OptimiserRecipe, lr: float
) -> schedulefree.RAdamScheduleFree:
    """RAdamScheduleFree; biases and position tables are not decayed, norms are."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in networks.named_parameters():
        is_free = name.endswith(("bias", "relative_bias_table"))
        (free if is_free else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return schedulefree.RAdamScheduleFree(groups, lr=lr, betas=(0.9, recipe.beta2), eps=1e-8)


class Trainer:
    """Runs one stage; iterate over it to train and to see how it goes.

    Args:
        stage: networks and losses.
        recipe: optimiser and seed.
        stream: batches of crops.
        out: folder for ``checkpoint.pt``, ``metrics.jsonl``, ``STAGE.safetensors`` and its card.
        card: facts about the run that the card shall hold.
    """

    def __init__(
        self,
        stage: Stage,
        recipe: OptimiserRecipe,
        stream: CropStream,
        out: Path,
        card: dict[str, Any],
    ) -> None:
        self.stage = stage
        self.recipe = recipe
        self.stream = stream
        self.out = out
        self.card = card
        self.iteration = 0
        self.seconds = 0.0
        self.optimiser = make_optimiser(stage.networks, recipe, stage.lr)
        self.ema = EMA(recipe.ema_decay, recipe.ema_start)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error

    @property
    def checkpoint_path(self) -> Path:
        """File that ``resume`` continues from."""
        return self.out / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from the checkpoint in ``out``, if there is one."""
        if not self.checkpoint_path.exists():
            return
        state = load_checkpoint(self.checkpoint_path)
        if state["recipe"] != json.dumps(self.card["recipe"], sort_keys=True):
            raise UserError(
                f"{self.checkpoint_path} was made by another recipe: "
                "choose another --out, or --restart to overwrite it"
            )
        self.stage.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.weights = state["ema"]
        self.iteration, self.seconds = state["iteration"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint, then the weights file that a tokenizer can load."""
        save_checkpoint(
            self.checkpoint_path,
            {
                "recipe": json.dumps(self.card["recipe"], sort_keys=True),
                "networks": self.stage.networks.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "ema": self.ema.weights,
                "iteration": self.iteration,
                "seconds": self.seconds,
            },
        )
        card = self.card | {
            "version": __version__,
            "torch": torch.__version__,
            "config": self.stage.config(),
            "iterations": self.iteration,
            "images_seen": self.iteration * self.recipe.batch_size,
            "seconds": round(self.seconds),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        weights = self.stage.exported(self.averaged_weights())
        export(self.out / f"{self.stage.name}.safetensors", weights, card)

    def averaged_weights(self) -> dict[str, Tensor]:
        """What is evaluated and handed on: the EMA of the optimiser's own average."""
        if self.ema.weights:
            return self.ema.weights
        self.optimiser.eval()
        weights = {k: v.detach().clone() for k, v in self.stage.networks.state_dict().items()}
        self.optimiser.train()
        return weights

    def step(self, images: Tensor) -> dict[str, float]:
        """One iteration on images (B, 3, H, W) in [-1, 1]; returns the weighted loss terms."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.iteration)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bf16):
            losses = self.stage.losses(images, generator)
        for term, loss in losses.items():
            if not torch.isfinite(loss):
                raise UserError(
                    f"{self.stage.name}: the loss term '{term}' is {loss.item()} at iteration "
                    f"{self.iteration}; the last good state is {self.checkpoint_path}"
                )
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.stage.networks.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.iteration += 1
        if self.ema.averages_at(self.iteration):
            self.optimiser.eval()
            self.ema.update(self.stage.networks.state_dict(), self.iteration)
            self.optimiser.train()
        return {term: loss.item() for term, loss in losses.items()}

    def run(self, iterations: int, seconds: float = float("inf")) -> Iterator[TrainState]:
        """Train up to ``iterations`` or ``seconds`` in all, whichever ends first.

        Yields a report every few iterations. Writes a checkpoint every three minutes, at the end,
        and on SIGINT or SIGTERM, after which ``KeyboardInterrupt`` is raised.
        """
        self.stage.networks.train()
        self.optimiser.train()
        started, before = time.monotonic(), self.seconds
        saved = started
        sums: dict[str, float] = {}
        count = 0
        with _stop_requests() as stop:
            for images in self.stream.batches(self.iteration):
                if self.iteration >= iterations or self.seconds >= seconds or stop:
                    break
                for term, value in self.step(images).items():
                    sums[term] = sums.get(term, 0.0) + value
                count += 1
                self.seconds = before + time.monotonic() - started
                if count == LOG_EVERY:
                    state = TrainState(
                        self.iteration, {k: v / count for k, v in sums.items()}, self.seconds
                    )
                    self._log(state)
                    yield state
                    sums, count = {}, 0
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
            self.save()
            if stop:
                raise KeyboardInterrupt

    def _log(self, state: TrainState) -> None:
        row = {"iteration": state.iteration, "seconds": round(state.seconds, 1), **state.losses}
        with (self.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
