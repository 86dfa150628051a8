"""A run: the grid of cells, each measured unless its result lies on disk, each saved at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import torch

from ssdd_bench.api import Tokenizer
from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError, OutputError, UnknownNameError, UserError
from ssdd_bench.evaluation.environment import (
    choose_device,
    describe_environment,
    device_name,
    hide_home,
)
from ssdd_bench.evaluation.job import Cell, cell_fingerprint, data_fingerprint
from ssdd_bench.evaluation.measure import (
    Settings,
    check_resolution,
    describe_tokenizer,
    measure_cell,
    save_picture,
    save_scores,
)
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.frechet import FrechetDistance
from ssdd_bench.metrics.intervals import GROUPS, JACKKNIFE
from ssdd_bench.plugins.registry import TOKENIZERS, TokenizerRequest, load_tokenizer
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import Result, TokenizerRecord
from ssdd_bench.results.store import load_results, result_path, save_result
from ssdd_bench.weights.cache import cached_path

CPU_BATCH = 1
"""Images per call on a CPU, for the scores and the clock.

Its kernels round differently for batches of different sizes, which moves scores in the fifth
digit, and a larger batch is no faster there.
"""


@dataclass(frozen=True)
class RunPlan:
    """Everything a run depends on.

    Attributes:
        requests: tokenizers with their options.
        resolutions: sides of the square crops in pixels.
        metrics: keys of ``ssdd-bench list metrics``; empty for those of each protocol.
        out: folder of the results.
        protocols: ids of ``ssdd-bench list protocols``.
        data: see :func:`ssdd_bench.data.images.open_images`; None for the embedded photographs.
        limit: number of images drawn from it; None for all.
        seeds: of the noise of encoders and decoders; where there is none, only the first counts.
        batch_size: images per call on a GPU; on a CPU it is always :data:`CPU_BATCH`.
        device: ``auto``, or as torch names it.
        speed: whether to time.
        pictures: whether to save sample reconstructions.
        strict: an image that cannot be decoded, or a metric that cannot be had, is an error
            instead of being left out.
        intervals: of Fréchet distances too, at twenty times the cost of a distance.
        force: measure again what is on disk.
        command: what the user typed, for the record.
    """

    requests: tuple[TokenizerRequest, ...]
    resolutions: tuple[int, ...]
    metrics: tuple[str, ...]
    out: Path
    protocols: tuple[str, ...] = ("default-v1",)
    data: Path | None = None
    limit: int | None = None
    seeds: tuple[int, ...] = (0,)
    batch_size: int = 8
    device: str = "auto"
    speed: bool = True
    pictures: bool = True
    strict: bool = False
    intervals: bool = False
    force: bool = False
    command: str = ""

    def cells(self) -> tuple[Cell, ...]:
        """The grid in the order of measuring, repeated cells once.

        Raises:
            UnknownNameError: no such protocol.
            UserError: a protocol is not about reconstructions.
        """
        protocols = [get_protocol(protocol_id) for protocol_id in self.protocols]
        cells = {
            (request.label, resolution, protocol.id, seed): Cell(
                request, resolution, protocol, seed
            )
            for request in self.requests
            for resolution in self.resolutions
            for protocol in protocols
            for seed in (self.seeds if _is_random(request, protocol) else self.seeds[:1])
        }
        return tuple(cells.values())

    def metric_keys(self, protocol: Protocol) -> tuple[str, ...]:
        """What to measure under a protocol."""
        return self.metrics or protocol.metric_keys


def _is_random(request: TokenizerRequest, protocol: Protocol) -> bool:
    return TOKENIZERS.get(request.id).stochastic or protocol.posterior == "sample"


@dataclass(frozen=True)
class Finished:
    """A cell whose result is on disk."""

    result: Result
    path: Path
    reused: bool  # it was there before this run


@dataclass(frozen=True)
class Failure:
    """A cell, or all cells of a tokenizer that could not be loaded."""

    name: str
    cells: int
    error: Exception

    def __str__(self) -> str:
        lines = str(self.error).splitlines()
        reason = lines[0] if lines else ""
        if not isinstance(self.error, UserError):
            reason = f"{type(self.error).__name__}: {reason} (--debug shows where)"
        return f"{self.name}: {reason}"


@dataclass(frozen=True)
class Outcome:
    """What became of every cell."""

    finished: tuple[Finished, ...]
    failures: tuple[Failure, ...]


class Listener:
    """Told how a run goes on; does nothing by itself."""

    def cell_started(self, cell: Cell, number: int, total: int, images: int) -> None:
        """Cell ``number`` of ``total``, counted from 1, is about to read ``images`` images."""

    def stage(self, name: str) -> None:
        """What follows the images of the present cell."""

    def images_done(self, count: int) -> None:
        """So many more images of the present cell are done."""

    def cell_finished(self, finished: Finished) -> None:
        """A result is on disk."""

    def cell_failed(self, failure: Failure) -> None:
        """The run goes on without this cell."""


def run(plan: RunPlan, listener: Listener | None = None) -> Outcome:
    """Measure every cell that is not on disk yet.

    A result is on disk as soon as its cell is done, so that a run that was stopped, whatever
    stopped it, goes on where it was when it is started again.

    Raises:
        UserError: something that concerns every cell: the device, a name, the images, the output
            folder. What concerns one cell is in the outcome.
    """
    return _Run(plan, listener or Listener()).run()


class _Run:
    def __init__(self, plan: RunPlan, listener: Listener) -> None:
        self._plan = plan
        self._listener = listener
        self._cells = plan.cells()
        self._metrics = find_metrics("pairs")
        for key in chain.from_iterable(plan.metric_keys(cell.protocol) for cell in self._cells):
            if key not in self._metrics:
                raise UnknownNameError("metric", key, self._metrics)
        self._device = choose_device(plan.device)
        keep_freed_memory()
        _check_writable(plan.out)
        source = open_images(plan.data, plan.limit)
        self._data = data_fingerprint(source)
        self._settings = Settings(
            source=source,
            batch_size=plan.batch_size if self._device.type == "cuda" else CPU_BATCH,
            strict=plan.strict,
            intervals=plan.intervals,
            environment=describe_environment(self._device),
            command=hide_home(plan.command),
        )
        self._finished: list[Finished] = []
        self._failures: list[Failure] = []
        self._started = 0

    def run(self) -> Outcome:
        for _, group in groupby(self._cells, key=lambda cell: cell.request.label):
            self._run_tokenizer(list(group))
        return Outcome(tuple(self._finished), tuple(self._failures))

    def _run_tokenizer(self, cells: Sequence[Cell]) -> None:
        """Load a tokenizer once and measure all its cells."""
        request = cells[0].request
        try:
            tokenizer = load_tokenizer(request, device=str(self._device))
            for network in tokenizer.networks().values():
                network.eval()
            record = describe_tokenizer(TOKENIZERS.get(request.id), request, tokenizer)
        except Exception as error:
            self._started += len(cells)
            self._fail(Failure(request.label, len(cells), error))
            return
        for cell in cells:
            self._started += 1
            try:
                self._run_cell(cell, tokenizer, record)
            except (DataError, OutputError):  # these would strike every other cell too
                raise
            except Exception as error:
                self._fail(Failure(cell.name, 1, error))

    def _run_cell(self, cell: Cell, tokenizer: Tokenizer, record: TokenizerRecord) -> None:
        check_resolution(tokenizer, cell.resolution)
        # A codec has nothing to move to a GPU: it works, and is timed, on the CPU.
        device = self._device if tokenizer.networks() else torch.device("cpu")
        cell_hash = cell_fingerprint(record, cell, self._data, device_name(device))
        path = result_path(
            self._plan.out, record.label, cell.resolution, cell.protocol.id, cell_hash
        )
        old = _load_old(path, cell_hash)
        wanted = self._plan.metric_keys(cell.protocol)
        if old is not None and not self._plan.force and self._is_complete(old, wanted):
            self._finish(Finished(old, path, reused=True))
            return
        before = old.metrics if old is not None else {}
        kept = [key for key in before if key in self._metrics]
        intervals = any(value.interval_method == JACKKNIFE for value in before.values())
        self._listener.cell_started(
            cell, self._started, len(self._cells), len(self._settings.source)
        )
        with _number_formats(cell.protocol):
            result, seen, per_image = measure_cell(
                cell,
                tokenizer.to(device, getattr(torch, cell.protocol.dtype)),
                record,
                tuple(dict.fromkeys((*wanted, *kept))),
                self._plan.speed or (old is not None and old.speed is not None),
                replace(self._settings, intervals=self._plan.intervals or intervals),
                device,
                cell_hash,
                self._listener.images_done,
                self._listener.stage,
            )
        scores = Path("scores") / f"{path.stem}.parquet"
        save_scores(per_image, seen.ids, self._plan.out / scores)
        result = replace(result, scores=scores.as_posix())
        if self._plan.pictures:
            save_picture(seen, self._plan.out / "samples" / f"{path.stem}.png")
        self._finish(Finished(result, save_result(result, self._plan.out), reused=False))

    def _is_complete(self, old: Result, wanted: Sequence[str]) -> bool:
        return (
            not any(self._is_missing(old, key) for key in wanted)
            and (old.speed is not None or not self._plan.speed)
            and not (self._plan.strict and old.data.skipped)
        )

    def _is_missing(self, old: Result, key: str) -> bool:
        """Whether a score is not there yet, or could not be had then and can be now."""
        value = old.metrics.get(key)
        if value is None:
            return True
        if not value.unavailable:
            has_interval = issubclass(self._metrics[key].load(), FrechetDistance)
            enough = value.n >= GROUPS and not value.interval_method
            return self._plan.intervals and has_interval and enough
        info = self._metrics[key]
        if info.source != "built-in":  # its author may have mended it
            return True
        return self._plan.strict or (bool(info.assets) and all(map(cached_path, info.assets)))

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._listener.cell_finished(finished)

    def _fail(self, failure: Failure) -> None:
        self._failures.append(failure)
        self._listener.cell_failed(failure)


def _load_old(path: Path, cell_hash: str) -> Result | None:
    """The result of an earlier run; None if there is none, or none that can be read."""
    try:
        (result,) = load_results([path]) if path.exists() else (None,)
    except UserError:
        return None
    return result if result is not None and result.fingerprint == cell_hash else None


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; choose another --out"
        ) from error


@contextmanager
def _number_formats(protocol: Protocol) -> Iterator[None]:
    """Set what torch may round to, for the time of one cell."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = protocol.tf32
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed
