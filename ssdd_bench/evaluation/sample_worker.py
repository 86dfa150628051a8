"""Scores of generated images as launchers run them: chunks of samples, then of references."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.api.formats import TORCH
from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.memory import Images, as_source, to_tensor
from ssdd_bench.data.npz import read_labels
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import map_ahead
from ssdd_bench.errors import DataError, UserError
from ssdd_bench.evaluation.chunk_files import ChunkFiles, DamagedChunkError, delete_covered
from ssdd_bench.evaluation.chunks import METRICS, Grid, PixelDigest
from ssdd_bench.evaluation.environment import (
    choose_load_threads,
    describe_execution,
    device_of_scores,
)
from ssdd_bench.evaluation.folder import FORMAT, Executed
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.loading import describe_external
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.merge import execution_warnings
from ssdd_bench.evaluation.reference import Reference
from ssdd_bench.evaluation.result import Evaluation, describe_origin
from ssdd_bench.evaluation.sample_row import (
    default_sample_metrics,
    departures,
    generated_label,
)
from ssdd_bench.evaluation.work import worker_name
from ssdd_bench.launch.tasks import Group, Opened, Progress, Worker
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.state import SuiteState
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.schema import GenerationProtocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.places import result_path
from ssdd_bench.results.records import read_record
from ssdd_bench.results.schema import (
    NUMBERS_VERSION,
    DataRecord,
    GeneratedRecord,
    LatentRecord,
    Result,
)
from ssdd_bench.results.store import load_saved, read_generated
from ssdd_bench.weights.assets import cached_path

GROUP = 64
"""Images in memory at a time."""


@dataclass(frozen=True)
class ScoringPlan:
    """Sets of generated images to score.

    See :func:`ssdd_bench.evaluation.samples.evaluate_samples` for the meaning of the others.

    Attributes:
        samples: each becomes a result.
        out: folder of the results; None returns them only.
    """

    samples: tuple[Images, ...]
    reference: Images
    protocol: GenerationProtocol
    out: Path | None
    metrics: tuple[str, ...] = ()
    limit: int | None = None
    label: str = ""
    strict: bool = False
    load_threads: int | None = None
    max_image_mb: int = MAX_IMAGE_MB
    force: bool = False
    command: str = ""

    def open_reference(self) -> Reference:
        """Open the reference."""
        return Reference(self.reference, self.limit, self.max_image_mb)


class ScoringGroup(Group[Evaluation]):
    """A job for each set of samples.

    Args:
        plan: what to score.
        parts: folder of what is found of the chunks.
        reference: open already in this process.
    """

    def __init__(self, plan: ScoringPlan, parts: Path, reference: Reference | None = None) -> None:
        self.plan, self.parts = plan, parts
        self._reference = reference
        self.name = "scores"
        self.jobs = tuple(job_name(one) for one in plan.samples)

    def load(self, device: str) -> ScoringWorker:
        """Open the reference; networks are loaded for the first chunk."""
        keep_freed_memory()
        reference = self._reference or self.plan.open_reference()
        return ScoringWorker(self.plan, self.parts, reference, torch.device(device))

    def __getstate__(self) -> dict[str, Any]:
        """Leave open images out: another process opens them itself."""
        return {**vars(self), "_reference": None}


@dataclass(frozen=True)
class _Job:
    """A set of samples that is open.

    Attributes:
        made: how the samples were made, where they say so.
        labels: class of each, if it is known and those of the reference are the same.
        keys: of the metrics.
        side: of the images in pixels.
        label: name in tables.
        fingerprint: of the job.
        grids: of the samples, and of the references if there are images; in this order the chunks
            are counted.
        files: of the chunks.
        origin: fields of the record that say when, where and by which command it was made.
    """

    made: GeneratedRecord | None
    samples: ImageSource
    labels: NDArray[np.int64] | None
    keys: tuple[str, ...]
    side: int
    label: str
    fingerprint: str
    grids: tuple[Grid, ...]
    files: ChunkFiles
    origin: dict[str, Any]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of images in each chunk."""
        return tuple(chain.from_iterable(grid.sizes for grid in self.grids))

    @property
    def expected(self) -> int:
        """Images of the smaller side, for :class:`ssdd_bench.metrics.suite.MetricSuite`."""
        return min(grid.images for grid in self.grids)


class ScoringWorker(Worker[Evaluation]):
    """Scores sets of samples.

    Args:
        plan: what to score.
        parts: folder of what is found of the chunks.
        reference: that they are compared with.
        device: of the metrics' networks.
    """

    def __init__(
        self, plan: ScoringPlan, parts: Path, reference: Reference, device: torch.device
    ) -> None:
        self._plan, self._parts, self._reference, self._device = plan, parts, reference, device
        self._threads = choose_load_threads(plan.load_threads, device, has_networks=False)
        self._jobs: dict[int, _Job] = {}
        self._suite: tuple[int, MetricSuite] | None = None
        self._stack = ExitStack()

    def open(self, job: int) -> Opened[Evaluation]:
        """Look up which chunks are there, or if the result is."""
        plan, protocol, reference = self._plan, self._plan.protocol, self._reference
        origin = describe_origin(self._device, plan.command)
        made, samples, labels = open_samples(plan.samples[job], plan.max_image_mb)
        keys = plan.metrics or default_sample_metrics(protocol, labels is not None, reference)
        side = min(samples.read_named(samples.ids[0]).size)
        label = plan.label or (generated_label(made) if made else samples.name)
        seed = made.seed if made else 0
        sets = data_fingerprint(samples), reference.identity
        identity = fingerprint(
            [
                NUMBERS_VERSION,
                *sets,
                side,
                protocol.sha256,
                label,
                seed,
                *device_of_scores(self._device),
            ]
        )
        path = result_path(plan.out or self._parts, label, side, protocol.id, identity)
        if plan.out is not None and not plan.force:
            old = load_saved(path, identity)
            if old is not None and _is_complete(old, keys, plan.strict):
                # A launch that was killed when it had saved the result has left its chunks.
                held = {"metrics": list(old.metrics), "weights": _weights(old.metrics)}
                delete_covered(self._parts, path.stem, held)
                kept = {one.name: getattr(old, one.name) for one in fields(Result)}
                return Opened(result=Evaluation(**kept, path=path))
        if not reference.matches(made.classes if made else ()):
            labels = None
        grids = [Grid.of(count) for count in (len(samples), reference.count) if count]
        of_chunks = {
            "job": identity,
            "metrics": keys,
            "labels": None if labels is None else fingerprint(labels.tolist()),
            "weights": _weights(keys),
            "strict": plan.strict,
            "images": [grid.images for grid in grids],
            "sizes": [grid.size for grid in grids],
            "torch": TORCH,
            "format": FORMAT,
        }
        folder = self._parts / f"{path.stem}-{fingerprint(of_chunks)[:10]}"
        files = ChunkFiles(folder, of_chunks, sum(map(len, grids)))
        one = _Job(made, samples, labels, keys, side, label, identity, tuple(grids), files, origin)
        self._jobs[job] = one
        return Opened(one.sizes, files.missing())

    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Score some chunks, first those of the samples, and save each as soon as it is done."""
        one = self._jobs[job]
        first = len(one.grids[0])  # chunk of the references
        self._add_samples(job, [chunk for chunk in chunks if chunk < first], progress)
        self._add_references(job, [chunk for chunk in chunks if chunk >= first], progress)

    def _add_samples(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Add samples as they are, without a crop; ``DataError`` names another size."""
        if not chunks:
            return
        one, suite = self._jobs[job], self._suite_of(job)
        source, side = one.samples, one.side

        def read(image_id: str) -> Tensor:
            image = source.read_named(image_id)
            if image.size != (side, side):
                raise DataError(
                    f"{source.name}: {image_id} has {image.width} x {image.height} px, expected "
                    f"{side} x {side}: samples are scored at one size, without a crop"
                )
            return to_tensor(image)

        parts = [one.grids[0].part(chunk) for chunk in chunks]
        ids = chain.from_iterable(source.ids[part] for part in parts)
        images = map_ahead(read, ids, self._threads)
        for chunk, part in zip(chunks, parts, strict=True):
            started = time.perf_counter()
            for start in range(part.start, part.stop, GROUP):
                group = slice(start, min(start + GROUP, part.stop))
                classes = None if one.labels is None else one.labels[group].tolist()
                found = torch.stack(list(islice(images, group.stop - group.start)))
                suite.add_samples(source.ids[group], found, classes)
                progress.images_done(len(found))
            self._save(one, chunk, suite.take(), [], started)
            progress.chunk_done(chunk)

    def _add_references(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Add references, as ADM crops them."""
        if not chunks or (source := self._reference.images) is None:
            return
        one, suite = self._jobs[job], self._suite_of(job)
        grid, first = one.grids[1], len(one.grids[0])
        labels = self._reference.labels()
        parts = [grid.part(chunk - first) for chunk in chunks]
        loader = ImageLoader(
            source,
            one.side,
            "adm",
            GROUP,
            strict=True,
            threads=self._threads,
            groups=[source.ids[part] for part in parts],
        )

        started, place = time.perf_counter(), parts[0].start
        of_chunk: list[bytes] = []
        for batch, hashes in loader.prepared(lambda batch: pixel_hashes(batch.images)):
            given = labels[place : place + len(batch)] or None
            suite.add_references(batch.ids, batch.images, given, hashes)
            of_chunk += hashes
            place += len(batch)
            progress.images_done(len(batch))
            if batch.last:
                chunk = chunks[batch.group]
                self._save(one, chunk, suite.take(), of_chunk, started)
                progress.chunk_done(chunk)
                started, of_chunk = time.perf_counter(), []
                if batch.group + 1 < len(parts):
                    place = parts[batch.group + 1].start

    def _save(
        self,
        one: _Job,
        chunk: int,
        state: SuiteState,
        hashes: Sequence[bytes],
        started: float,
    ) -> None:
        execution = describe_execution(self._device)
        executed = Executed(execution, worker_name(), time.perf_counter() - started)
        rows = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1 if hashes else 0)
        arrays = {METRICS + name: array for name, array in state.arrays.items()}
        facts = {"metrics": state.facts, "executed": asdict(executed)}
        one.files.write(chunk, {**arrays, "hashes": rows}, facts)

    def _suite_of(self, job: int) -> MetricSuite:
        """Return the suite of a job, after leaving that of another one."""
        if self._suite is None or self._suite[0] != job:
            self.close()
            suite = self._make_suite(self._jobs[job], self._device)
            self._suite = job, self._stack.enter_context(suite)
        return self._suite[1]

    def _make_suite(
        self, one: _Job, device: torch.device, only_merges: bool = False
    ) -> MetricSuite:
        return MetricSuite(
            one.keys,
            device,
            strict=self._plan.strict,
            kind="samples",
            moments=self._reference.moments,
            expected=one.expected,
            only_merges=only_merges,
        )

    def finish(self, job: int, progress: Progress) -> Evaluation:
        """Add up the chunks in the order of their numbers, and save the result.

        A damaged chunk is computed again.
        """
        one, out = self._jobs[job], self._plan.out
        while True:
            progress.stage("scores")
            try:
                evaluation = self._merge(one)
                break
            except DamagedChunkError as error:
                one.files.refuse(error)
                self.work(job, [error.chunk], Progress())
        self.close()
        if out is not None:
            evaluation = replace(evaluation, path=evaluation.save(out))
        one.files.delete()
        return evaluation

    def _merge(self, one: _Job) -> Evaluation:
        started = time.perf_counter()
        reference, protocol, made = self._reference, self._plan.protocol, one.made
        pixels = PixelDigest()
        executed = []
        with self._make_suite(one, torch.device("cpu"), only_merges=True) as suite:
            for chunk in range(len(one.sizes)):
                arrays, facts = one.files.read(chunk)
                hashes = arrays.pop("hashes")
                pixels.update(facts["metrics"]["ids"].get("reference", ()), map(bytes, hashes))
                found = {name.removeprefix(METRICS): array for name, array in arrays.items()}
                suite.merge(SuiteState(found, facts["metrics"]))
                executed.append(read_record(Executed, facts["executed"], one.label))
            scores = suite.compute()
        seconds = sum(two.seconds for two in executed) + time.perf_counter() - started
        return Evaluation(
            tokenizer=replace(made.tokenizer, label=one.label)
            if made
            else describe_external("samples", one.label, stochastic=True),
            resolution=one.side,
            protocol=protocol.record(),
            seed=made.seed if made else 0,
            steps=made.decoder_steps if made else None,
            latent=made.latent if made else LatentRecord("unknown", 0, 0, *(None,) * 4),
            data=DataRecord(
                reference.name,
                len(one.samples),
                fingerprint(one.samples.ids),
                reference.identity if reference.moments else pixels.hexdigest(),
            ),
            metrics=dict(scores.values),
            speed=None,
            execution=made.execution if made else executed[0].execution,
            fingerprint=one.fingerprint,
            warnings=(
                *(departures(made, protocol, reference) if made else ()),
                *execution_warnings(executed),
            ),
            generation=made.generation if made else None,
            seconds=seconds,
            **one.origin,
        )

    def close(self) -> None:
        """Free the metrics."""
        self._suite = None
        self._stack.close()


def job_name(samples: Images) -> str:
    """Name a set of samples, for messages."""
    return str(samples) if isinstance(samples, str | Path) else "samples"


def open_samples(
    samples: Images, max_image_mb: int = MAX_IMAGE_MB
) -> tuple[GeneratedRecord | None, ImageSource, NDArray[np.int64] | None]:
    """Return the record of how samples were made, if there is one, the samples and their labels.

    Raises:
        UserError: the folder was not filled to its end.
    """
    if not isinstance(samples, str | Path):
        return None, as_source(samples, max_image_mb=max_image_mb), None
    path = Path(samples)
    made = read_generated(path) if path.is_dir() else None
    if made is None and (path / "batches" / "config.json").is_file():
        raise UserError(
            f"{path} is not finished: run `ssdd-bench gen sample` again, without --shard"
        )
    path = path / "samples.npz" if made else path
    return made, as_source(path, max_image_mb=max_image_mb), read_labels(path)


def _weights(keys: Iterable[str]) -> list[str]:
    """List the files of metrics that are on this machine."""
    known = find_metrics("samples")
    assets = {name for key in keys if key in known for name in known[key].assets}
    return [name for name in sorted(assets) if cached_path(name)]


def _is_complete(old: Result, keys: Iterable[str], strict: bool) -> bool:
    """Return True if a result lacks no metric but those whose weights are still missing."""
    known = find_metrics("samples")
    return all(
        key in old.metrics
        and (
            not old.metrics[key].unavailable
            or not (strict or all(map(cached_path, known[key].assets)))  # strict: it is an error
        )
        for key in keys
    )
