"""The folder in which the workers of a job keep what they found, until its result is saved.

``OUT/parts/<result>-<settings>/`` has ``job.json``, all that is known before the images; a file
``<chunk>.safetensors`` for each chunk; and ``clock.json`` once speed is measured. Each is written
atomically, with the identity of the job: what does not fit is refused and made again.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from ssdd_bench.api import LatentSpec
from ssdd_bench.api.formats import TORCH
from ssdd_bench.errors import UserError, counted
from ssdd_bench.evaluation.chunk_files import ChunkFiles, differences
from ssdd_bench.evaluation.chunks import ChunkState, Grid
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.results.files import write_json, write_text
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import ADDED, read_json, read_record
from ssdd_bench.results.schema import ExecutionRecord, SpeedRecord, TokenizerRecord

PARTS = "parts"
"""Folder of such folders, among the results."""
JOB, CLOCK = "job.json", "clock.json"
PLAN = "jobs"
"""Begin of the names of files, among the parts, with the names of the jobs of a run in shares."""
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


def save_plan(out: Path, names: Sequence[str]) -> None:
    """Write the names of the jobs of a run in shares, so that a merge misses none.

    Another run in shares, of other jobs, has a file of its own.
    """
    _write_plan(out / PARTS / f"{PLAN}-{fingerprint(names)[:10]}.txt", names)


def load_plans(out: Path) -> dict[str, Path]:
    """Read the names of the jobs that a merge has to find, each with a file that it stands in."""
    return {name: path for path, names in _plans(out) for name in names}


def reduce_plans(out: Path, done: Container[str]) -> None:
    """Take the names of jobs with a result out of the plans, and delete those without others."""
    for path, names in _plans(out):
        if left := [name for name in names if name not in done]:
            _write_plan(path, left)
        else:
            path.unlink()
    with suppress(OSError):
        (out / PARTS).rmdir()


def _plans(out: Path) -> list[tuple[Path, list[str]]]:
    """Read the plans, each with its file."""
    files = sorted((out / PARTS).glob(f"{PLAN}-*.txt"))
    return [(path, path.read_text(encoding="utf-8").splitlines()) for path in files]


def _write_plan(path: Path, names: Sequence[str]) -> None:
    write_text(path, "".join(f"{name}\n" for name in names))


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
