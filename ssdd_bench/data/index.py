"""Indexes of large files: made once, and kept in our cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ssdd_bench.data.files import DataFile
from ssdd_bench.errors import OutputError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.fingerprint import hash_arrays
from ssdd_bench.weights.assets import cache_folder, cache_is_on

_TEXTS: Final = "texts"
_IDENTITY: Final = "ssdd-bench"
_CHECKSUM: Final = "sha256"


@dataclass(frozen=True)
class Index:
    """Facts about a large file.

    Attributes:
        texts: such as the names of its members; none has a NUL.
        numbers: int64 arrays by name.
    """

    texts: tuple[str, ...]
    numbers: Mapping[str, NDArray[np.int64]]


def cached_index(file: DataFile, kind: str, build: Callable[[DataFile], Index]) -> Index:
    """Return the index of a file, from our cache if the file has not changed since.

    Args:
        file: that is indexed.
        kind: of the index, with its version; an index of another one is not used.
        build: makes the index by reading the file; its errors pass.
    """
    if not (cache_is_on() and file.stamp):
        return build(file)
    path = cache_folder() / "indexes" / f"{_name_of(file)}.safetensors"
    identity = json.dumps([kind, file.url, file.size, file.stamp])
    if (index := _read(path, identity)) is None:
        index = build(file)
        with contextlib.suppress(OutputError):  # A cache that cannot be written is none.
            write_atomically(path, lambda target: _write(target, identity, index), durable=False)
    return index


def _write(path: Path, identity: str, index: Index) -> None:
    joined = "\0".join(index.texts).encode("utf-8", "surrogateescape")
    arrays: dict[str, NDArray[Any]] = dict(index.numbers)
    arrays[_TEXTS] = np.frombuffer(joined, np.uint8)
    save_file(arrays, path, {_IDENTITY: identity, _CHECKSUM: hash_arrays(arrays)})


def _read(path: Path, identity: str) -> Index | None:
    """Read an index; None if it is missing, damaged or of another file."""
    try:
        with safe_open(path, "np") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None
    if facts.get(_IDENTITY) != identity or facts.get(_CHECKSUM) != hash_arrays(arrays):
        return None
    joined = arrays.pop(_TEXTS).tobytes().decode("utf-8", "surrogateescape")
    return Index(tuple(joined.split("\0")) if joined else (), arrays)


def _name_of(file: DataFile) -> str:
    return hashlib.blake2b(file.url.encode("utf-8", "replace"), digest_size=16).hexdigest()
