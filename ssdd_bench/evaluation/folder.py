"""The folder in which the workers of a job keep what they found, until its result is saved.

``OUT/parts/<result>-<settings>/`` has ``job.json``, all that is known before the images; a file
``<chunk>.safetensors`` for each chunk; and ``clock.json`` once speed is measured. Each is written
atomically, with the identity of the job: what does not fit is refused and made again.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from ssdd_bench.api import LatentSpec
from ssdd_bench.api.formats import TORCH
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import UserError, counted
from ssdd_bench.evaluation.chunk_files import ChunkFiles, differences
from ssdd_bench.evaluation.chunks import ChunkState, Grid
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.results.files import write_json
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import ADDED, read_json, read_record
from ssdd_bench.results.schema import DataRecord, ExecutionRecord, SpeedRecord, TokenizerRecord

PARTS = "parts"
"""Folder of such folders, among the results."""
JOB, CLOCK = "job.json", "clock.json"
PLAN = "jobs"
"""Begin of the names of files, among the parts, with the jobs of a run in shares."""
FORMAT = 3


@dataclass(frozen=True)
class JobIdentity:
    """Identity of a job, which all files in its folder share.

    Attributes:
        job: fingerprint of the job.
        metrics: keys, in the order of the result.
        intervals: see :class:`ssdd_bench.evaluation.settings.Settings`, as ``strict``.
        weights: names of the metrics' files that were on the machine: without them a metric is
            unavailable.
        images: number of them.
        size: of a chunk.
        torch: version that computes, which sums of two versions must not mix.
        format: of the files.
    """

    job: str
    metrics: tuple[str, ...]
    weights: tuple[str, ...]
    intervals: bool
    strict: bool
    images: int
    size: int
    torch: str = TORCH
    format: int = FORMAT

    @property
    def grid(self) -> Grid:
        """The chunks."""
        return Grid(self.images, self.size)

    def folder_name(self, result: Path) -> str:
        """Return the name of the folder of the job that is to be saved as ``result``."""
        return f"{result.stem}-{fingerprint(asdict(self))[:10]}"


@dataclass(frozen=True)
class JobRecord:
    """All about a job that is known before its images; ``job.json``.

    With the chunks it makes the result, without the tokenizer and without any weights.

    Attributes:
        latent: what the tokenizer's encoder produces.
        data: name of the images.
        borders: id of the first image of each chunk, to name those that are missing.
        options: of the metrics.
        warnings: that are known already.
        speed: True if the clock is asked for.
        pictures: True if the sample pictures are.
        picture_quality: of these, see :func:`ssdd_bench.results.pictures.save_pictures`.
    """

    identity: JobIdentity
    tokenizer: TokenizerRecord
    resolution: int
    protocol: dict[str, Any]
    seed: int
    steps: int | None
    latent: LatentSpec
    data: str
    borders: tuple[str, ...]
    options: MetricOptions
    warnings: tuple[str, ...]
    speed: bool
    pictures: bool
    picture_quality: int
    environment: dict[str, Any]
    command: str
    created: str
    numbers_version: Annotated[int | None, ADDED] = None


@dataclass(frozen=True)
class Executed:
    """Circumstances in which a chunk was computed.

    Attributes:
        execution: settings of the process.
        worker: host and process.
        seconds: that it took.
        batch: images per call, which is always 1 on a CPU. On a GPU last digits depend on it; it is
            not in the job's identity, since a call that runs out of memory is divided anyway.
    """

    execution: ExecutionRecord
    worker: str
    seconds: float
    batch: Annotated[int, ADDED] = 1


@dataclass(frozen=True)
class ClockRecord:
    """A measurement of speed; ``clock.json``.

    Attributes:
        identity: of the job.
        speed: that was measured.
        environment: in which.
        seconds: that it took.
    """

    identity: JobIdentity
    speed: SpeedRecord
    environment: dict[str, Any]
    seconds: float


class JobFolder(ChunkFiles):
    """Files of one job.

    Args:
        path: of the folder, which is made when something is saved.
        identity: of the job.
    """

    def __init__(self, path: Path, identity: JobIdentity) -> None:
        self.identity = identity
        self.grid = identity.grid
        super().__init__(path, asdict(identity), len(self.grid))

    def claim(self, record: JobRecord) -> JobRecord:
        """Write what is known of the job, and return it; it was created when it first was."""
        path = self.path / JOB
        if path.exists():
            with suppress(UserError):
                record = replace(record, created=read_job(self.path).created)
        write_json(path, asdict(record), durable=False)
        return record

    def save(self, chunk: int, state: ChunkState, executed: Executed) -> None:
        """Write a chunk.

        Raises:
            OutputError: the folder cannot be written.
        """
        self.write(chunk, state.arrays(), state.facts() | {"executed": asdict(executed)})

    def load(self, chunk: int) -> tuple[ChunkState, Executed]:
        """Read a chunk, and how it was computed.

        Raises:
            DamagedChunkError: it is absent, damaged or of another job.
        """
        arrays, facts = self.read(chunk)
        executed = read_record(Executed, facts.pop("executed"), str(self.chunk_path(chunk)))
        return ChunkState.of(arrays, facts), executed

    def save_clock(self, record: ClockRecord) -> None:
        """Write a measurement of speed."""
        write_json(self.path / CLOCK, asdict(record))

    def load_clock(self) -> ClockRecord | None:
        """Read the measurement of speed; None if there is none, or none that can be used."""
        path = self.path / CLOCK
        if not path.exists():
            return None
        try:
            found = read_record(ClockRecord, read_json(path), str(path))
            problem = differences(asdict(found.identity), asdict(self.identity))
        except UserError as error:
            problem = str(error)
        if problem:
            text = f"{path} cannot be used: {problem}; speed is measured again"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            return None
        return found


def read_job(folder: Path) -> JobRecord:
    """Read ``job.json``.

    Raises:
        UserError: it is absent or damaged, or another version of this package wrote it.
    """
    path = folder / JOB
    record = read_record(JobRecord, read_json(path), str(path))
    if record.identity.format != FORMAT:
        raise UserError(
            f"{path}: key 'identity.format' is {record.identity.format}, expected {FORMAT}: "
            "delete the folder and measure again"
        )
    return record


def find_jobs(out: Path) -> list[Path]:
    """List the folders of unfinished jobs among results."""
    return sorted(path.parent for path in (out / PARTS).glob(f"*/{JOB}"))


def delete_merged(result: Path, created: str) -> None:
    """Delete the files that a result was merged from, if an interruption has left some of them.

    What a later run has begun for the same result stays.

    Args:
        result: its file.
        created: date of the result, which is that of the job whose files were merged.
    """
    parts = result.parent / PARTS
    for folder in parts.glob(f"{result.stem}-*"):
        if _is_left_over(folder, created):
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                parts.rmdir()


def _is_left_over(folder: Path, created: str) -> bool:
    if not (folder / JOB).exists():  # A job writes it before all other files.
        return any(folder.glob("[!.]*"))
    with suppress(UserError):
        return read_job(folder).created == created
    return False


@dataclass(frozen=True)
class PlannedImages:
    """Identity of the images of a run in shares, as far as a result states it too.

    Attributes:
        name: of the data set or folder.
        count: number of them.
        ids_sha256: of their ids, in order.
    """

    name: str
    count: int
    ids_sha256: str

    @classmethod
    def of(cls, source: ImageSource) -> PlannedImages:
        """Describe the images of a run."""
        return cls(source.name, len(source), fingerprint(source.ids))

    def match(self, data: DataRecord) -> bool:
        """Return True if a result is of these images; the ids count unless some are left out."""
        same = (data.name, data.n + len(data.skipped)) == (self.name, self.count)
        return same and (bool(data.skipped) or data.ids_sha256 == self.ids_sha256)


@dataclass(frozen=True)
class Plan:
    """The jobs of a run in shares that a merge has to find.

    Attributes:
        images: of all jobs.
        jobs: their names.
    """

    images: PlannedImages
    jobs: tuple[str, ...]


def save_plan(out: Path, plan: Plan) -> None:
    """Write the jobs of a run in shares, so that a merge misses none.

    Another run in shares, of other jobs or images, has a file of its own.
    """
    content = asdict(plan)
    write_json(out / PARTS / f"{PLAN}-{fingerprint(content)[:10]}.json", content)


def load_plans(out: Path) -> dict[Path, Plan]:
    """Read the plans, by file.

    Raises:
        UserError: one is damaged.
    """
    files = sorted((out / PARTS).glob(f"{PLAN}-*.json"))
    return {path: read_record(Plan, read_json(path), str(path)) for path in files}


def reduce_plans(out: Path, is_done: Callable[[str, PlannedImages], bool]) -> None:
    """Take jobs with a result out of the plans, and delete the plans without others.

    Args:
        out: folder of the results.
        is_done: returns True if the job of that name has a result of these images.
    """
    for path, plan in load_plans(out).items():
        if left := tuple(name for name in plan.jobs if not is_done(name, plan.images)):
            write_json(path, asdict(replace(plan, jobs=left)))
        else:
            path.unlink()
    with suppress(OSError):
        (out / PARTS).rmdir()


def missing_images(record: JobRecord, chunks: Sequence[int]) -> str:
    """Describe the images of missing chunks: how many, and from which to which."""
    grid = record.identity.grid
    count = sum(grid.sizes[chunk] for chunk in chunks)
    first = chunks[0]
    more = f" and {counted(len(chunks) - 1, 'further chunk')}" if len(chunks) > 1 else ""
    until = f" until '{record.borders[first + 1]}'" if first + 1 < len(grid) else " to the last"
    return (
        f"{count} of {counted(grid.images, 'image')}: chunk {first}, from '{record.borders[first]}'"
        f"{until}{more}"
    )
