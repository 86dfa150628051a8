"""The npz file in which evaluation suites exchange samples: ``arr_0`` uint8 NHWC, labels beside."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.errors import DataError
from ssdd_bench.results.files import write_atomically


def write_npz(
    path: Path,
    batches: Iterable[NDArray[np.uint8]],
    shape: tuple[int, int, int, int],
    labels: NDArray[np.int64],
) -> None:
    """Write images as ``arr_0`` and labels as ``arr_1``, a batch in memory at a time.

    The arrays are stored uncompressed, as ``np.savez`` does, so that readers can map them.

    Args:
        path: of the file.
        batches: uint8 (B, H, W, 3), in order.
        shape: of all images together; ``ValueError`` if the batches do not add up to it.
        labels: (N,).
    """

    def write(target: Path) -> None:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("arr_0.npy", "w", force_zip64=True) as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                count = 0
                for batch in batches:
                    if batch.shape[1:] != shape[1:] or batch.dtype != np.uint8:
                        raise ValueError(f"a batch of {batch.dtype} {batch.shape}, not {shape}")
                    count += len(batch)
                    file.write(np.ascontiguousarray(batch).tobytes())
                if count != shape[0]:
                    raise ValueError(f"{count} images instead of {shape[0]}")
            with archive.open("arr_1.npy", "w") as file:
                np.lib.format.write_array(file, labels.astype(np.int64))

    write_atomically(path, write)


def read_labels(path: Path) -> NDArray[np.int64] | None:
    """Return the labels of a file of samples; None if it holds none."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return None
    return _read(path, "arr_1")


def read_moments(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return those of ``mu``, ``sigma``, ``mu_s`` and ``sigma_s`` that a file holds."""
    names = ("mu", "sigma", "mu_s", "sigma_s")
    arrays = {name: _read(path, name) for name in names}
    found = {name: one.astype(np.float64) for name, one in arrays.items() if one is not None}
    for mean, covariance in (("mu", "sigma"), ("mu_s", "sigma_s")):
        if (mean in found) != (covariance in found):
            raise DataError(f"{path}: of {mean} and {covariance} one is missing: fetch it again")
        if mean in found and found[covariance].shape != 2 * found[mean].shape:
            raise DataError(
                f"{path}: {mean} has shape {found[mean].shape} and {covariance} "
                f"{found[covariance].shape}: fetch it again"
            )
    return found


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays that a file holds, without reading them."""
    with _opened(path) as arrays:
        return list(arrays.files)


def _read(path: Path, name: str) -> NDArray[Any] | None:
    with _opened(path) as arrays:
        return arrays[name] if name in arrays.files else None


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        # np.load would take a file that is no zip for a pickle, and advise to run its code.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file) as arrays:
            yield arrays
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path} as an npz file: {error}") from error
