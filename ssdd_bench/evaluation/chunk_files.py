"""Chunks on disk: arrays and plain data, whole or refused, of any kind of job."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ssdd_bench.errors import UserError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.fingerprint import canonical_json, hash_arrays

ENTRY = "ssdd-bench"
"""Name of the metadata of a chunk; one, since safetensors writes several in random order."""
FACTS = "facts"
"""Name of the plain data of a chunk: JSON as bytes, since metadata is limited in size."""


class DamagedChunkError(UserError):
    """A chunk on disk that cannot be used.

    Attributes:
        chunk: its number.
    """

    def __init__(self, chunk: int, text: str) -> None:
        super().__init__(text)
        self.chunk = chunk


class ChunkFiles:
    """Files of the chunks of one job.

    Args:
        path: of the folder, which is made when something is saved.
        identity: what all files must share: plain data, or anything that JSON has a form for;
            ``metrics``, ``weights`` and ``intervals`` tell which of two folders has more.
        count: number of chunks.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], count: int) -> None:
        self.path = path
        self._identity: dict[str, Any] = json.loads(canonical_json(identity))
        self._count = count

    def chunk_path(self, chunk: int) -> Path:
        """Return the file of a chunk."""
        return self.path / f"{chunk:05d}.safetensors"

    def missing(self) -> tuple[int, ...]:
        """Return the numbers of the chunks that are not there; those that do not fit are named.

        Looks at the files' headers alone: a truncated file is found, a changed bit only by
        :meth:`read`.
        """
        found = []
        for chunk in range(self._count):
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

    def write(
        self, chunk: int, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
    ) -> None:
        """Write a chunk: arrays, and plain data.

        Raises:
            OutputError: the folder cannot be written.
        """
        text = json.dumps(facts, allow_nan=False).encode("ascii")
        found = {name: np.asarray(one, order="C") for name, one in arrays.items()}
        found[FACTS] = np.frombuffer(text, np.uint8)
        header = {"identity": self._identity | {"chunk": chunk}, "sha256": hash_arrays(found)}
        metadata = {ENTRY: canonical_json(header)}
        write_atomically(
            self.chunk_path(chunk),
            lambda target: save_file(found, target, metadata=metadata),
            durable=False,
        )

    def read(self, chunk: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Read the arrays and the plain data of a chunk.

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
        if hash_arrays(arrays) != header["sha256"]:
            raise DamagedChunkError(chunk, f"{path} is damaged: its checksum is another")
        return arrays, json.loads(arrays.pop(FACTS).tobytes())

    def delete(self) -> None:
        """Delete the folder, and earlier ones of the same result that hold nothing more."""
        shutil.rmtree(self.path, ignore_errors=True)
        delete_covered(self.path.parent, self.path.name.rpartition("-")[0], self._identity)

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
        if problem := differences(identity, self._identity | {"chunk": chunk}):
            raise DamagedChunkError(chunk, f"{path} cannot be used: {problem}")
        return dict(header)


def delete_covered(parts: Path, result: str, identity: Mapping[str, Any]) -> None:
    """Delete the folders of a result whose chunks have nothing more than the result.

    Args:
        parts: that they are in.
        result: name of the result's file without the suffix, with which their names begin.
        identity: ``metrics``, ``weights`` and ``intervals`` of the result.
    """
    for path in parts.glob(f"{result}-*"):
        if _covers(identity, path):
            shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        parts.rmdir()


def _covers(own: Mapping[str, Any], folder: Path) -> bool:
    """Return True if the chunks in a folder have no metric that a result lacks."""
    files = ChunkFiles(folder, {}, 0)
    for path in folder.glob("*.safetensors"):
        with suppress(DamagedChunkError, ValueError):
            held = (files._header(int(path.stem)) or {"identity": {}})["identity"]
            return held.get("intervals", False) <= own.get("intervals", False) and not any(
                set(held.get(key, ())) - set(own.get(key, ())) for key in ("metrics", "weights")
            )
    return True


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Describe the first key that differs; "" if none does."""
    for key, value in expected.items():
        if found.get(key) != value:
            return f"its {key} is {_short(found.get(key))}, expected {_short(value)}"
    return ""


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value[:10] if isinstance(value, str) else str(value)
