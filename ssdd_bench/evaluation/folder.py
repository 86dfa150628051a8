"""The folder in which the workers of a job keep what they found, until its result is saved.

``OUT/parts/<result>-<settings>/`` has ``job.json``, all that is known before the images; a file
``<chunk>.safetensors`` for each chunk; and ``clock.json`` once speed is measured. Each is written
atomically, with the identity of the job: what does not fit is refused and made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ssdd_bench.api import LatentSpec
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.chunks import ChunkState, Grid
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.fingerprint import canonical_json, fingerprint
from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.results.schema import ExecutionRecord, SpeedRecord, TokenizerRecord

PARTS = "parts"
"""Folder of such folders, among the results."""
JOB, CLOCK = "job.json", "clock.json"
FORMAT = 1
ENTRY = "ssdd-bench"
"""Name of the metadata of a chunk; one, since safetensors writes several in random order."""
FACTS = "facts"
"""Name of the plain data of a chunk: JSON as bytes, since metadata is limited in size."""


@dataclass(frozen=True)
class JobIdentity:
    """What all files in a job's folder must share.

    Attributes:
        job: fingerprint of the job.
        metrics: keys, in the order of the result.
        intervals: see :class:`ssdd_bench.evaluation.settings.Settings`, as ``strict``.
        weights: names of the metrics' files that were on the machine: without them a metric is
            unavailable.
        images: number of them.
        size: of a chunk.
        format: of the files.
    """

    job: str
    metrics: tuple[str, ...]
    weights: tuple[str, ...]
    intervals: bool
    strict: bool
    images: int
    size: int
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
        pictures: True if the sample picture is.
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
    environment: dict[str, Any]
    command: str
    created: str


@dataclass(frozen=True)
class Executed:
    """How a chunk was computed.

    Attributes:
        execution: settings of the process.
        worker: host and process.
        seconds: that it took.
    """

    execution: ExecutionRecord
    worker: str
    seconds: float


@dataclass(frozen=True)
class ClockRecord:
    """A measurement of speed; ``clock.json``."""

    identity: JobIdentity
    speed: SpeedRecord
    execution: ExecutionRecord
    seconds: float


class DamagedChunkError(UserError):
    """A chunk on disk that cannot be used.

    Attributes:
        chunk: its number.
    """

    def __init__(self, chunk: int, text: str) -> None:
        super().__init__(text)
        self.chunk = chunk


class JobFolder:
    """Files of one job.

    Args:
        path: of the folder, which is made when something is saved.
        identity: of the job.
    """

    def __init__(self, path: Path, identity: JobIdentity) -> None:
        self.path = path
        self.identity = identity
        self.grid = identity.grid

    def chunk_path(self, chunk: int) -> Path:
        """Return the file of a chunk."""
        return self.path / f"{chunk:05d}.safetensors"

    def claim(self, record: JobRecord) -> JobRecord:
        """Write what is known of the job, and return it; a record that is there is kept."""
        path = self.path / JOB
        if path.exists():
            with suppress(UserError):
                return read_job(self.path)
        write_json(path, asdict(record), durable=False)
        return record

    def missing(self) -> tuple[int, ...]:
        """Return the numbers of the chunks that are not there; those that do not fit are named.

        Looks at the files' headers alone: a truncated file is found, a changed bit only by
        :meth:`load`.
        """
        found = []
        for chunk in range(len(self.grid)):
            try:
                if self._header(chunk) is None:
                    found.append(chunk)
            except DamagedChunkError as error:
                self.refuse(error)
                found.append(chunk)
        return tuple(found)

    def refuse(self, error: DamagedChunkError) -> None:
        """Name a chunk that cannot be used, and delete it."""
        warnings.warn(f"{error}; it is computed again", RuntimeWarning, stacklevel=3)
        self.chunk_path(error.chunk).unlink(missing_ok=True)

    def save(self, chunk: int, state: ChunkState, executed: Executed) -> None:
        """Write a chunk.

        Raises:
            OutputError: the folder cannot be written.
        """
        facts = state.facts() | {"executed": asdict(executed)}
        text = json.dumps(facts, allow_nan=False).encode("ascii")
        arrays = {name: np.asarray(one, order="C") for name, one in state.arrays().items()}
        arrays[FACTS] = np.frombuffer(text, np.uint8)
        header = {"identity": self._chunk_identity(chunk), "sha256": _checksum(arrays)}
        metadata = {ENTRY: canonical_json(header)}
        write_atomically(
            self.chunk_path(chunk),
            lambda target: save_file(arrays, target, metadata=metadata),
            durable=False,
        )

    def load(self, chunk: int) -> tuple[ChunkState, Executed]:
        """Read a chunk, and how it was computed.

        Raises:
            DamagedChunkError: it is absent, damaged or of another job.
        """
        path = self.chunk_path(chunk)
        header = self._header(chunk)
        if header is None:
            raise DamagedChunkError(chunk, f"{path} is missing")
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise DamagedChunkError(chunk, f"{path} cannot be read: {error}") from error
        if _checksum(arrays) != header["sha256"]:
            raise DamagedChunkError(chunk, f"{path} is damaged: its checksum is another")
        facts = json.loads(arrays.pop(FACTS).tobytes())
        executed = read_record(Executed, facts.pop("executed"), str(path))
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
            problem = _differences(asdict(found.identity), asdict(self.identity))
        except UserError as error:
            problem = str(error)
        if problem:
            text = f"{path} cannot be used: {problem}; speed is measured again"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            return None
        return found

    def delete(self) -> None:
        """Delete the folder and earlier ones of the same result, with other metrics."""
        for path in self.path.parent.glob(f"{self.path.name.rpartition('-')[0]}-*"):
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def _chunk_identity(self, chunk: int) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(canonical_json(asdict(self.identity)))
        return plain | {"chunk": chunk}

    def _header(self, chunk: int) -> dict[str, Any] | None:
        """Read the metadata of a chunk; None if there is no such file.

        Raises:
            DamagedChunkError: it is damaged or of another job.
        """
        path = self.chunk_path(chunk)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads((file.metadata() or {})[ENTRY])
            identity = header["identity"]
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise DamagedChunkError(chunk, f"{path} cannot be read: {error}") from error
        if problem := _differences(identity, self._chunk_identity(chunk)):
            raise DamagedChunkError(chunk, f"{path} cannot be used: {problem}")
        return dict(header)


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


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Describe the first key that differs; "" if none does."""
    for key, value in expected.items():
        if found.get(key) != value:
            return f"its {key} is {_short(found.get(key))}, expected {_short(value)}"
    return ""


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value[:10] if isinstance(value, str) else str(value)


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def missing_images(record: JobRecord, chunks: Sequence[int]) -> str:
    """Describe the images of missing chunks: how many, and from which to which."""
    grid = record.identity.grid
    count = sum(grid.sizes[chunk] for chunk in chunks)
    first = chunks[0]
    more = f" and {len(chunks) - 1} further chunks" if len(chunks) > 1 else ""
    until = f" until '{record.borders[first + 1]}'" if first + 1 < len(grid) else " to the last"
    return (
        f"{count} of {grid.images} images: chunk {first}, from '{record.borders[first]}'"
        f"{until}{more}"
    )
