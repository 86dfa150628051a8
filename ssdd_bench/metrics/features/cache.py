"""Features of references kept on disk, so that the next tokenizer does not compute them again.

An entry holds one group of images as the network was given it, by the hashes of their pixels: a run
with entries gives the same bits as one without. Whatever else decides the features is in the name
of the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench import __version__
from ssdd_bench.errors import OutputError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import NUMBERS_VERSION
from ssdd_bench.weights.assets import cache_folder, cache_is_on

LIMIT_BYTES = 4 << 30

Features = Mapping[str, NDArray[np.float32]]


def pixel_hashes(images: Tensor) -> tuple[bytes, ...]:
    """Hash the size and the pixels of each image, uint8 (B, 3, H, W)."""
    arrays = images.contiguous().cpu().numpy()
    shape = str(arrays.shape[1:]).encode()
    return tuple(hashlib.blake2b(one, digest_size=16, key=shape).digest() for one in arrays)


class ReferenceCache:
    """Features by layer of groups of images, for one network on one kind of device.

    ``$SSDD_BENCH_NO_CACHE`` turns it off; a folder that cannot be written keeps nothing.
    """

    def __init__(self, backend: str, layers: Mapping[str, int], device: torch.device) -> None:
        self._on = cache_is_on()
        self._layers = dict(layers)
        # Pillow resizes the input of some.
        versions = [torch.__version__, PIL.__version__, NUMBERS_VERSION, __version__]
        name = fingerprint([backend, self._layers, versions, _arithmetic(device)])
        self._folder = _root() / name[:16]

    def read(self, hashes: Sequence[bytes]) -> Features | None:
        """Return the features of a group by its :func:`pixel_hashes`; None if unknown."""
        if not self._on:
            return None
        path = self._path(hashes)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = {layer: arrays[layer] for layer in self._layers}
        except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return found

    def write(self, hashes: Sequence[bytes], features: Features) -> None:
        """Keep the features of a group."""
        if not self._on:
            return

        def save(target: Path) -> None:
            with target.open("wb") as file:
                np.savez(file, allow_pickle=False, **features)

        try:
            write_atomically(self._path(hashes), save)
        except OutputError:
            self._on = False

    def _path(self, hashes: Sequence[bytes]) -> Path:
        name = hashlib.blake2b(b"".join(hashes), digest_size=16).hexdigest()
        return self._folder / f"{name}.npz"


def prune(limit: int = LIMIT_BYTES) -> None:
    """Delete the entries that were unused for longest, until ``limit`` bytes are left."""
    if not cache_is_on():
        return
    entries = []
    for path in _root().glob("*/*"):
        with contextlib.suppress(OSError):  # Another process deleted it.
            status = path.stat()
            entries.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size


def _root() -> Path:
    return cache_folder() / "features"


def _arithmetic(device: torch.device) -> list[str | int]:
    """Name the hardware and the threads, which decide how a sum is split and rounded."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device)]
    if device.type == "cpu":
        return ["cpu", torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    return [device.type]
