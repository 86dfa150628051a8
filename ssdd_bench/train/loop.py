"""Training loop of every stage, on one device or many, by accelerate.

Data and random numbers depend on the seed and on the number of images seen only, so on a CPU a
run that is stopped and resumed ends in the same weights as one that is not, bit for bit. A batch
may be cut into any number of processes and passes: losses are means over images, so the weights
change by rounding only. The KL-VAE's adversarial loss is an exception, see
:mod:`ssdd_bench.train.stages.klvae`.
"""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from ssdd_bench import __version__
from ssdd_bench.api.formats import has_kernels
from ssdd_bench.errors import DataError, OptionError, OutputError, UserError
from ssdd_bench.launch.signals import Terminated
from ssdd_bench.nn.ema import EMA
from ssdd_bench.train.batches import Batches, Shard
from ssdd_bench.train.compilation import compile_networks, tuned_convolutions
from ssdd_bench.train.evaluation import Evaluator
from ssdd_bench.train.files import (
    Card,
    Origin,
    Scores,
    card_path,
    load_checkpoint,
    save_card,
    save_checkpoint,
    save_weights,
)
from ssdd_bench.train.log import LossLog, MetricsLog
from ssdd_bench.train.optimiser import ScheduleFree, make_optimiser
from ssdd_bench.train.stages.base import Stage, Terms

CHECKPOINT_SECONDS = 180.0
LOG_EVERY = 10
PROGRESS = ("iteration", "seconds", "best", "evaluated")  # attributes that a checkpoint holds


@dataclass(frozen=True)
class TrainState:
    """Progress of a training."""

    iteration: int  # iterations done
    losses: dict[str, float]  # weighted terms, averaged since the previous report
    seconds: float  # of training in all, over every resumption
    images_per_s: float  # since this start


class Trainer:
    """Trains one stage; iterate over :meth:`run` to train and to follow the progress.

    The folder ``out`` gets ``checkpoint.pt``, ``metrics.jsonl``, and the averaged weights
    ``last.safetensors`` and ``best.safetensors`` with their cards; the latter are the best by the
    ``evaluator``, an attribute to be set. Without ``device`` accelerate chooses one per process.
    ``inputs`` has a hash of each thing that decides the training beside the recipe, such as its
    ``images``, by name: a checkpoint is resumed with equal ones only.
    """

    def __init__(
        self,
        stage: Stage,
        data: Batches,
        out: Path,
        origin: Origin,
        device: torch.device | None = None,
        *,
        inputs: Mapping[str, str],
    ) -> None:
        recipe, schedule = stage.optimiser, stage.schedule
        if device is not None and device.index is not None:
            torch.cuda.set_device(device)  # accelerate takes the current one
        # Without its being said, processes of torchrun on a CPU would not find each other.
        on_cpu = not torch.accelerator.is_available() if device is None else device.type == "cpu"
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no",  # autocast is entered below, so that stages may differ
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        self.stage, self.recipe, self.schedule = stage, recipe, schedule
        self.data, self.out, self.origin = data, out, origin
        self.evaluator: Evaluator | None = None
        self.checkpoint_path = out / "checkpoint.pt"
        self.weights_path = out / "last.safetensors"
        self.identity = {"recipe": json.dumps(stage.identity(), sort_keys=True), **inputs}
        self.iteration = 0
        self.seconds = 0.0
        self.best: float | None = None
        self.evaluated = -1  # the iteration of the latest evaluation
        self.ema = EMA(recipe.ema_decay, recipe.ema_start)
        self.losses = LossLog(
            stage.name, f"use a smaller lr; the last good state is {self.checkpoint_path}"
        )
        shards = self.accelerator.num_processes * schedule.accumulate
        if schedule.batch_size % shards:
            raise OptionError(
                f"batch_size is {schedule.batch_size}, which {shards} shards (processes times "
                "accumulate) do not divide: change batch_size or accumulate in the recipe, or the "
                "number of processes"
            )
        self.shard_size = schedule.batch_size // shards
        self.discriminator: nn.Module | None
        self.discriminator, self.discriminator_start = stage.make_discriminator() or (None, 0)
        on_gpu = self.accelerator.device.type == "cuda"
        self.in_bfloat16 = recipe.bf16 and has_kernels(torch.bfloat16, self.accelerator.device)
        if stage.channels_last:
            # Frozen networks stay as they are on a CPU: the results of earlier versions are kept.
            (stage if on_gpu else stage.networks).to(memory_format=torch.channels_last)
            if self.discriminator and on_gpu:
                self.discriminator.to(memory_format=torch.channels_last)
        if recipe.compile and on_gpu:
            compile_networks(stage.called())
            compile_networks(self.discriminator.children() if self.discriminator else ())
        trained = nn.ModuleDict({"networks": stage.networks, "auxiliary": stage.auxiliary})
        self.model, self.optimiser = self.accelerator.prepare(
            stage, make_optimiser(trained, recipe, schedule.lr)
        )
        self._stateful: dict[str, Any] = {**trained, "optimiser": self.optimiser}
        if self.discriminator:
            self.discriminator_model, self.discriminator_optimiser = self.accelerator.prepare(
                self.discriminator, make_optimiser(self.discriminator, recipe, schedule.lr)
            )
            self._stateful["discriminator"] = self.discriminator
            self._stateful["discriminator_optimiser"] = self.discriminator_optimiser
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
        self.log = MetricsLog(out) if self.accelerator.is_main_process else None

    def resume(self) -> None:
        """Continue from the checkpoint in ``out``, if there is one.

        Raises:
            UserError: it was made with another recipe or other inputs; names those that differ.
        """
        if not self.checkpoint_path.exists():
            return
        state = load_checkpoint(self.checkpoint_path)
        saved = state.get("identity")
        known = saved if isinstance(saved, dict) else {}  # a text in earlier versions
        other = [name for name, value in self.identity.items() if known.get(name) != value]
        if other:
            raise UserError(
                f"{self.checkpoint_path} has not the {' and '.join(other)} of this run: choose "
                "another --out, or --restart to overwrite it"
            )
        for name, holder in self._stateful.items():
            holder.load_state_dict(state[name])
        device = self.accelerator.device
        self.ema.weights = {k: v.to(device) for k, v in state["ema"].items()}
        for name in PROGRESS:
            setattr(self, name, state[name])

    def save(self) -> None:
        """Write the averaged weights as ``last.safetensors``, then the checkpoint.

        So the weights of a checkpoint's iteration are there, wherever a process is killed.
        ``UserError`` if a loss was not finite: the files before are kept.
        """
        self.losses.read()
        if self.accelerator.is_main_process:
            self.save_weights("last")
            self._save_state()

    def _save_state(self) -> None:
        state = {
            "identity": self.identity,
            **{name: holder.state_dict() for name, holder in self._stateful.items()},
            "ema": self.ema.weights,
            **{name: getattr(self, name) for name in PROGRESS},
        }
        save_checkpoint(self.checkpoint_path, state)

    def save_weights(self, name: str, scores: Scores | None = None) -> Path:
        """Write the averaged weights with their card, and those of auxiliary modules apart.

        Auxiliary modules have no EMA, which lags behind the optimiser's average by little.
        """
        path = self.out / f"{name}.safetensors"
        save_weights(path, self.stage.exported(self.averaged_weights()), self._card(scores))
        auxiliary = self._averages(self.stage.auxiliary)
        if auxiliary:
            save_weights(self.out / f"{name}-auxiliary.safetensors", auxiliary)
        return path

    def _card(self, scores: Scores | None) -> Card:
        return Card(
            stage=self.stage.name,
            origin=self.origin,
            config=self.stage.config,
            parameters=sum(p.numel() for p in self.stage.networks.parameters()),
            recipe=self.stage.settings,
            iterations=self.iteration,
            images_seen=self.iteration * self.schedule.batch_size,
            seconds=round(self.seconds),
            processes=self.accelerator.num_processes,
            threads=torch.get_num_threads(),
            device=self.accelerator.device.type,
            bf16=self.in_bfloat16,
            scores=scores,
            latents=self.stage.latents,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
            torch=str(torch.__version__),
        )

    def averaged_weights(self) -> dict[str, Tensor]:
        """Return the weights to evaluate and to hand on: the EMA, of the optimiser's average."""
        if self.ema.weights:
            return self.ema.weights
        return {name: v.clone() for name, v in self._averages(self.stage.networks).items()}

    def _averages(self, networks: nn.Module) -> dict[str, Tensor]:
        """Return the weights of networks, those that a schedule-free optimiser averages.

        The networks stay as they are, so that a run does not depend on when it is saved; weights
        that are no averages are theirs.
        """
        optimiser = self.optimiser.optimizer
        averages = optimiser.averages() if isinstance(optimiser, ScheduleFree) else {}
        state = networks.state_dict(keep_vars=True)
        return {name: averages.get(id(v), v).detach() for name, v in state.items()}

    @tuned_convolutions()
    def step(self, batches: Iterator[Any]) -> Terms:
        """Run one iteration on ``accumulate`` batches; return the weighted loss terms.

        They are scalars on the device, so that a GPU is not waited for.
        """
        discriminator = self.discriminator
        if discriminator is not None and self.iteration < self.discriminator_start:
            discriminator = None
        count = self.schedule.accumulate
        terms: Terms = {}
        shown = []
        for index in range(count):
            batch = next(batches)
            shard = self._shard(self.iteration, index)
            with self._synchronised_at_last(self.model, index):
                with self._autocast():
                    found, seen = self.model(batch, shard, discriminator)
                self._backward(found, terms)
            shown.append(seen)
        self._update(self.optimiser, self.stage.networks, self.stage.auxiliary)
        if discriminator is not None:
            for index, seen in enumerate(shown):
                with self._synchronised_at_last(self.discriminator_model, index):
                    with self._autocast():
                        found = self.discriminator_model(**seen)
                    self._backward(found, terms)
            self._update(self.discriminator_optimiser, discriminator)
        terms = {term: value / count for term, value in terms.items()}
        self.losses.add(self.iteration, terms)
        self.iteration += 1
        if self.ema.averages_at(self.iteration):
            self.ema.update(self._averages(self.stage.networks), self.iteration)
        return terms

    def _autocast(self) -> torch.autocast:
        device = self.accelerator.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.in_bfloat16)

    def _shard(self, iteration: int, index: int) -> Shard:
        """Describe the data of one of this process's passes in an iteration."""
        place = self.accelerator.process_index * self.schedule.accumulate + index
        return Shard(iteration, place * self.shard_size, self.shard_size, self.schedule.batch_size)

    def batches(self) -> Any:
        """Start the stream of this process's batches at the current iteration."""
        iterations, indices = itertools.count(self.iteration), range(self.schedule.accumulate)
        shards = (self._shard(i, index) for i in iterations for index in indices)
        return self.data(shards, self.accelerator.device)

    def _synchronised_at_last(self, model: Any, index: int) -> AbstractContextManager[None]:
        """Let processes exchange gradients in the last pass of an iteration only."""
        is_last = index == self.schedule.accumulate - 1
        return nullcontext() if is_last else self.accelerator.no_sync(model)

    def _backward(self, found: Mapping[str, Tensor], sums: Terms) -> None:
        for term, loss in found.items():
            sums[term] = sums[term] + loss.detach() if term in sums else loss.detach()
        total = torch.stack(list(found.values())).sum() / self.schedule.accumulate
        self.accelerator.backward(total)

    def _update(self, optimiser: Any, *networks: nn.Module) -> None:
        for network in networks:
            self.accelerator.clip_grad_norm_(network.parameters(), self.recipe.clip)
        for group in optimiser.param_groups:
            group["lr"] = self.schedule.lr * self.recipe.lr_factor(self.iteration)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def start(self) -> None:
        """Put networks and optimisers into training mode."""
        self.model.train()
        self.optimiser.train()
        if self.discriminator is not None:
            self.discriminator_optimiser.train()

    def run(self, iterations: int, seconds: float = float("inf")) -> Iterator[TrainState]:
        """Train up to ``iterations`` or ``seconds`` in all, whichever ends first.

        Writes a checkpoint every three minutes, at the end, and on SIGINT or SIGTERM, after which
        ``KeyboardInterrupt`` is raised. Evaluates as often as the recipe says and at the end.

        Yields:
            A report every few iterations.
        """
        self.start()
        first, before, saved = self.iteration, self.seconds, time.monotonic()
        every = self.schedule.evaluate_every
        batches = self.batches()
        with stop_requests() as stop, closing(batches):
            while self.iteration < iterations:
                if self._stops(bool(stop) or self.seconds >= seconds):
                    break
                started = time.monotonic()
                try:
                    self.step(batches)
                except DataError:  # an unreadable image must not cost the iterations before it
                    self.save()
                    raise
                due = len(self.losses) >= LOG_EVERY or self.iteration == iterations
                if due:
                    self.losses.read()
                self.seconds += time.monotonic() - started
                if due:
                    done = (self.iteration - first) * self.schedule.batch_size
                    yield self._report(done / (self.seconds - before))
                if every and self.iteration % every == 0 and self.iteration < iterations:
                    self.evaluate()
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
            files = (self.weights_path, card_path(self.weights_path))
            if self.iteration > first or not all(file.exists() for file in files):
                self.save()
            if stop:
                raise Terminated if signal.SIGTERM in stop else KeyboardInterrupt
        if self.evaluated != self.iteration and self.evaluate():
            self._save_state()

    def _report(self, speed: float) -> TrainState:
        terms = self.losses.mean()
        state = TrainState(self.iteration, terms, self.seconds, speed)
        if self.log:
            row = {"seconds": round(state.seconds, 1), "images_per_s": round(speed, 2), **terms}
            self.log.add("train", state.iteration, row)
        return state

    def _stops(self, asked: bool) -> bool:
        """Return True on all processes if one of them wants to stop.

        Several processes ask each other every few iterations only, which waits for their devices.
        """
        if self.accelerator.num_processes == 1:
            return asked
        if self.iteration % LOG_EVERY:
            return False
        flag = torch.tensor(float(asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag) > 0)

    def evaluate(self) -> Scores | None:
        """Score the averaged weights in the main process, and keep them if they are the best."""
        self.losses.read()
        scores = None
        if self.evaluator is not None and self.accelerator.is_main_process:
            path = self.save_weights("last")
            scores = self.evaluator.score(path, self.iteration)
            save_card(path, self._card(scores))
            value = self.evaluator.selection_score(scores)
            if value is not None and (self.best is None or value > self.best):
                self.best = value
                self.save_weights("best", scores)
            if self.log:
                self.log.add("evaluation", self.iteration, scores.metrics)
        self.evaluated = self.iteration
        self.accelerator.wait_for_everyone()
        return scores


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of ending at once, so that a checkpoint can be written."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
