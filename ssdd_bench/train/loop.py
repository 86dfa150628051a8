"""The training loop: the same for every stage, on one device or many, by accelerate.

Crops, noise and times depend on the seed and the number of images seen only, so that on a CPU a
run that is stopped and resumed ends in the same weights as one that is not, bit for bit.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schedulefree
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from ssdd_bench import __version__
from ssdd_bench.errors import DataError, OptionError, OutputError, UserError
from ssdd_bench.nn.ema import EMA
from ssdd_bench.train.checkpoint import load_checkpoint, save_card, save_checkpoint, save_weights
from ssdd_bench.train.crops import CropStream
from ssdd_bench.train.evaluation import Evaluator
from ssdd_bench.train.interrupts import stop_requests
from ssdd_bench.train.log import MetricsLog
from ssdd_bench.train.recipe import OptimiserRecipe
from ssdd_bench.train.stages.base import Stage

CHECKPOINT_SECONDS = 180.0
LOG_EVERY = 10
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)


@dataclass(frozen=True)
class TrainState:
    """Where a training stands, for a progress display.

    Attributes:
        iteration: iterations done.
        losses: weighted terms, averaged since the previous report.
        seconds: of training in all, over every resumption.
        images_per_s: since this start.
    """

    iteration: int
    losses: dict[str, float]
    seconds: float
    images_per_s: float


def make_optimiser(
    networks: nn.Module, recipe: OptimiserRecipe, lr: float
) -> schedulefree.RAdamScheduleFree:
    """RAdamScheduleFree; no decay of biases and position tables, of norms as the recipe says."""
    norms = {id(p) for m in networks.modules() if isinstance(m, NORMS) for p in m.parameters()}
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in networks.named_parameters():
        is_free = name.endswith(("bias", "relative_bias_table"))
        is_free |= id(parameter) in norms and not recipe.decay_norms
        (free if is_free else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return schedulefree.RAdamScheduleFree(groups, lr=lr, betas=(0.9, recipe.beta2), eps=1e-8)


class Trainer:
    """Runs one stage; iterate over :meth:`run` to train and to see how it goes.

    Args:
        stage: networks and losses.
        stream: crops.
        out: folder for ``checkpoint.pt``, ``metrics.jsonl``, the weights ``last.safetensors`` and
            ``best.safetensors`` with their cards, and pictures.
        card: facts about the run that the cards shall hold.
        evaluator: scores the averaged weights; None never does.

    Raises:
        OptionError: the batch cannot be divided among the processes.
        OutputError: ``out`` cannot be written.
    """

    def __init__(
        self,
        stage: Stage,
        stream: CropStream,
        out: Path,
        card: Mapping[str, Any],
        evaluator: Evaluator | None = None,
    ) -> None:
        recipe, schedule = stage.recipe.optimiser, stage.schedule
        self.accelerator = Accelerator(
            mixed_precision="no",  # autocast is ours, so that stages of one process may differ
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        self.stage, self.recipe, self.schedule = stage, recipe, schedule
        self.stream, self.out, self.card, self.evaluator = stream, out, card, evaluator
        self.iteration = 0
        self.seconds = 0.0
        self.best: float | None = None
        self.evaluated = -1  # the iteration of the latest evaluation
        self.ema = EMA(recipe.ema_decay, recipe.ema_start)
        parts = self.accelerator.num_processes * schedule.accumulate
        if schedule.batch_size % parts:
            raise OptionError(
                f"a batch of {schedule.batch_size} cannot be divided by {parts}: change batch_size "
                "or accumulate in the recipe, or the number of processes"
            )
        self.part = schedule.batch_size // parts
        self.critic = stage.critic()
        if self.accelerator.device.type == "cpu":
            stage.networks.to(memory_format=torch.channels_last)
        elif recipe.compile:
            for network in stage.networks.values():
                network.compile()
        trained = nn.ModuleDict({"networks": stage.networks, "helper": stage.helper})
        self.model, self.optimiser = self.accelerator.prepare(
            stage, make_optimiser(trained, recipe, schedule.lr)
        )
        self.critic_model: Any = None
        self.critic_optimiser: Any = None
        if self.critic is not None:
            self.critic_model, self.critic_optimiser = self.accelerator.prepare(
                self.critic, make_optimiser(self.critic, recipe, schedule.lr)
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
        self.log = MetricsLog(out) if self.accelerator.is_main_process else None

    @property
    def checkpoint_path(self) -> Path:
        """File that ``resume`` continues from."""
        return self.out / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from the checkpoint in ``out``, if there is one.

        Raises:
            UserError: it was made by another recipe.
            WeightsError: it is damaged.
        """
        if not self.checkpoint_path.exists():
            return
        state = load_checkpoint(self.checkpoint_path)
        if state["recipe"] != json.dumps(self.card["recipe"], sort_keys=True):
            raise UserError(
                f"{self.checkpoint_path} was made by another recipe: "
                "choose another --out, or --restart to overwrite it"
            )
        self.stage.networks.load_state_dict(state["networks"])
        self.stage.helper.load_state_dict(state["helper"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.critic is not None and self.critic_optimiser is not None:
            self.critic.load_state_dict(state["critic"])
            self.critic_optimiser.load_state_dict(state["critic_optimiser"])
        device = self.accelerator.device
        self.ema.weights = {k: v.to(device) for k, v in state["ema"].items()}
        self.iteration, self.seconds, self.best = (
            state[key] for key in ("iteration", "seconds", "best")
        )
        self.evaluated = state.get("evaluated", -1)

    def save(self) -> None:
        """Write the checkpoint, then the averaged weights as ``last.safetensors``."""
        if self.accelerator.is_main_process:
            self._save_state()
            self.save_weights("last", {})

    def _save_state(self) -> None:
        state = {
            "recipe": json.dumps(self.card["recipe"], sort_keys=True),
            "networks": self.stage.networks.state_dict(),
            "helper": self.stage.helper.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.weights,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "best": self.best,
            "evaluated": self.evaluated,
        }
        if self.critic is not None and self.critic_optimiser is not None:
            state["critic"] = self.critic.state_dict()
            state["critic_optimiser"] = self.critic_optimiser.state_dict()
        save_checkpoint(self.checkpoint_path, state)

    def save_weights(self, name: str, scores: Mapping[str, Any]) -> Path:
        """Write the averaged weights, and beside them a card with what is known of them."""
        path = self.out / f"{name}.safetensors"
        weights = self.stage.exported(self.averaged_weights())
        save_weights(path, weights, self._card(scores))
        helper = {key: value.detach() for key, value in self.stage.helper.state_dict().items()}
        if helper:
            save_weights(self.out / f"{name}-helper.safetensors", helper)
        return path

    def _card(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **self.card,
            "version": __version__,
            "torch": torch.__version__,
            "config": self.stage.config(),
            "iterations": self.iteration,
            "images_seen": self.iteration * self.schedule.batch_size,
            "seconds": round(self.seconds),
            "processes": self.accelerator.num_processes,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "scores": dict(scores),
        }

    def averaged_weights(self) -> dict[str, Tensor]:
        """What is evaluated and handed on: the EMA of the optimiser's own average."""
        if self.ema.weights:
            return self.ema.weights
        self.optimiser.eval()
        weights = {k: v.detach().clone() for k, v in self.stage.networks.state_dict().items()}
        self.optimiser.train()
        return weights

    def step(self, parts: Iterator[Tensor]) -> dict[str, float]:
        """One iteration on ``accumulate`` batches; returns the weighted loss terms."""
        starts = self.stage.discriminator_starts()
        critic = self.critic if starts is not None and self.iteration >= starts else None
        count = self.schedule.accumulate
        terms: dict[str, float] = {}
        shown = []
        for part in range(count):
            images = next(parts).to(self.accelerator.device)
            with self._synchronised_at_last(self.model, part):
                with self._autocast():
                    found, seen = self.model(images, self._generator(part), critic)
                self._backward(found, terms)
            shown.append(seen)
        self._update(self.optimiser, self.stage.networks, self.stage.helper)
        if critic is not None:
            for part, seen in enumerate(shown):
                with self._synchronised_at_last(self.critic_model, part):
                    with self._autocast():
                        found = self.critic_model(**seen)
                    self._backward(found, terms)
            self._update(self.critic_optimiser, critic)
        self.iteration += 1
        if self.ema.averages_at(self.iteration):
            self.optimiser.eval()
            self.ema.update(self.stage.networks.state_dict(), self.iteration)
            self.optimiser.train()
        return {term: value / count for term, value in terms.items()}

    def _autocast(self) -> torch.autocast:
        device = self.accelerator.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.recipe.bf16)

    def _generator(self, part: int) -> torch.Generator:
        """Random numbers of one part of a batch, told apart by the number of its first image."""
        first = self._first_image(self.iteration, part)
        return torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + first)

    def _first_image(self, iteration: int, part: int) -> int:
        before = self.accelerator.process_index * self.schedule.accumulate + part
        return iteration * self.schedule.batch_size + before * self.part

    def _starts(self) -> Iterator[int]:
        for iteration in itertools.count(self.iteration):
            for part in range(self.schedule.accumulate):
                yield self._first_image(iteration, part)

    @contextmanager
    def _synchronised_at_last(self, model: Any, part: int) -> Iterator[None]:
        """Processes exchange gradients once per iteration."""
        if part == self.schedule.accumulate - 1:
            yield
        else:
            with self.accelerator.no_sync(model):
                yield

    def _backward(self, found: Mapping[str, Tensor], sums: dict[str, float]) -> None:
        for term, loss in found.items():
            value = loss.item()
            if value != value or abs(value) == float("inf"):
                raise UserError(
                    f"{self.stage.name}: the loss term '{term}' is {value} at iteration "
                    f"{self.iteration}; the last good state is {self.checkpoint_path}"
                )
            sums[term] = sums.get(term, 0.0) + value
        total = torch.stack(list(found.values())).sum() / self.schedule.accumulate
        self.accelerator.backward(total)

    def _update(self, optimiser: Any, *networks: nn.Module) -> None:
        for network in networks:
            self.accelerator.clip_grad_norm_(network.parameters(), self.recipe.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def run(self, iterations: int, seconds: float = float("inf")) -> Iterator[TrainState]:
        """Train up to ``iterations`` or ``seconds`` in all, whichever ends first.

        Yields a report every few iterations. Writes a checkpoint every three minutes, at the end,
        and on SIGINT or SIGTERM, after which ``KeyboardInterrupt`` is raised. Evaluates as often as
        the recipe says and at the end.
        """
        self.model.train()
        for optimiser in (self.optimiser, self.critic_optimiser):
            if optimiser is not None:
                optimiser.train()
        first, before, saved = self.iteration, self.seconds, time.monotonic()
        reports: list[dict[str, float]] = []
        every = self.schedule.evaluate_every
        parts = self.stream.batches(self._starts(), self.part)
        with stop_requests() as stop, closing(parts):
            while self.iteration < iterations:
                if self._any(bool(stop) or self.seconds >= seconds):
                    break
                started = time.monotonic()
                try:
                    reports.append(self.step(parts))
                except DataError:  # an image that cannot be read costs nothing of the training
                    self.save()
                    raise
                self.seconds += time.monotonic() - started
                if len(reports) == LOG_EVERY:
                    done = (self.iteration - first) * self.schedule.batch_size
                    yield self._report(reports, done / (self.seconds - before))
                    reports = []
                if every and self.iteration % every == 0 and self.iteration < iterations:
                    self.evaluate()
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
            if self.iteration > first or self.evaluated != self.iteration:
                self.save()
            if stop:
                raise KeyboardInterrupt
        if self.evaluated != self.iteration and self.evaluate():
            self._save_state()

    def _report(self, reports: list[dict[str, float]], speed: float) -> TrainState:
        terms = {term: 0.0 for report in reports for term in report}
        for term in terms:
            terms[term] = sum(report.get(term, 0.0) for report in reports) / len(reports)
        state = TrainState(self.iteration, terms, self.seconds, speed)
        if self.log:
            row = {"seconds": round(state.seconds, 1), "images_per_s": round(speed, 2), **terms}
            self.log.add("train", state.iteration, row)
        return state

    def _any(self, asked: bool) -> bool:
        """Whether one of the processes wants to stop: then all do, after the same iteration."""
        if self.accelerator.num_processes == 1:
            return asked
        flag = torch.tensor(float(asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag) > 0)

    def evaluate(self) -> dict[str, float]:
        """Score the averaged weights, and keep them if they are the best so far.

        Returns:
            Values by metric; empty without an evaluator and on all processes but the first.
        """
        scores: dict[str, float] = {}
        if self.evaluator is not None and self.accelerator.is_main_process:
            path = self.save_weights("last", {})
            scores = self.evaluator.score(path, self.stage, self.iteration)
            facts = self.evaluator.facts(self.stage) | scores
            save_card(path, self._card(facts))
            value = self.evaluator.merit(scores)
            if value is not None and (self.best is None or value > self.best):
                self.best = value
                self.save_weights("best", facts)
            if self.log:
                self.log.add("evaluation", self.iteration, scores)
        self.evaluated = self.iteration
        self.accelerator.wait_for_everyone()
        return scores
