"""The npz file in which evaluation suites exchange samples: ``arr_0`` uint8 NHWC, labels beside."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.data.decode import MAX_IMAGE_MB, check_size
from ssdd_bench.data.files import LocalFile
from ssdd_bench.data.pieces import Pieces
from ssdd_bench.data.source import ImageSource, check_count, number_ids
from ssdd_bench.errors import DataError, UserError, reason_of
from ssdd_bench.results.files import write_atomically

PIECE_BYTES: Final = 4 << 20
"""Size of what is decompressed at a time, if it holds more than one image."""
LARGEST: Final = 1 << 30
"""Bytes of the largest array that is read whole: labels and statistics are smaller."""


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


@dataclass(frozen=True)
class ArrayMember:
    """An array in an npz file, known from its header alone.

    Attributes:
        path: of the npz file.
        name: of the array.
        shape: as the header states it; the member has just so many bytes.
        dtype: of its values, no objects.
        fortran: True if the first index varies fastest.
        header: bytes before the values.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    header: int

    def whole(self) -> NDArray[Any]:
        """Read the array; ``DataError`` if it is damaged or larger than :data:`LARGEST`."""
        size = math.prod(self.shape) * self.dtype.itemsize
        if size > LARGEST:
            raise DataError(f"{self.name} in {self.path} has {size:,} bytes: give a smaller one")
        (data,) = self.pieces([size])
        with reading(self.path):  # A type may have no bytes.
            values = np.frombuffer(data, self.dtype).copy()
            return values.reshape(self.shape, order="F" if self.fortran else "C")

    def pieces(self, sizes: Iterable[int]) -> Iterator[bytes]:
        """Yield so many bytes of the values at a time; ``DataError`` if they are damaged."""
        with (
            reading(self.path),
            zipfile.ZipFile(self.path) as archive,
            archive.open(f"{self.name}.npy") as member,
        ):
            member.read(self.header)
            for size in sizes:
                data = member.read(size)
                if len(data) != size:
                    raise DataError(f"{self.name} in {self.path} ends too early")
                yield data

    def mapped(self) -> NDArray[Any] | None:
        """Map the array from the file; None if it is compressed."""
        with reading(self.path), zipfile.ZipFile(self.path) as archive:
            entry = archive.getinfo(f"{self.name}.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            return None
        # The local header, not the central directory, says where the data starts: its extra field
        # may be longer (zip64). zipfile's own seek would read through the file on Python 3.11.
        with reading(self.path):
            with self.path.open("rb") as file:
                file.seek(entry.header_offset)
                local = struct.unpack("<4s22xHH", file.read(30))
            if local[0] != b"PK\x03\x04":
                raise zipfile.BadZipFile("bad header of a member")
            start = entry.header_offset + 30 + local[1] + local[2] + self.header
            order: Any = "F" if self.fortran else "C"
            found: NDArray[Any] = np.memmap(
                self.path, self.dtype, "r", offset=start, shape=self.shape, order=order
            )
            return found


def find_array(path: Path, name: str) -> ArrayMember | None:
    """Read the header of an array; None if the file has no such array.

    Raises:
        DataError: the file is no npz file or damaged, or the array has objects.
    """
    LocalFile.find(path)
    with reading(path), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        entry = archive.getinfo(f"{name}.npy")
        with archive.open(entry) as member:
            version = np.lib.format.read_magic(member)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
            else:
                raise ValueError(f"{name} has format {version}")
            header = member.tell()
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects, which only a pickle can store")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or header + size != entry.file_size:
            raise ValueError(f"{name} of shape {shape} has {entry.file_size - header:,} bytes")
        return ArrayMember(path, name, shape, dtype, fortran, header)


def read_labels(path: Path) -> NDArray[np.int64] | None:
    """Return the labels of a file of samples; None if it holds none."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return None
    found = find_array(path, "arr_1")
    return found.whole() if found else None


def read_moments(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return those of ``mu``, ``sigma``, ``mu_s`` and ``sigma_s`` that a file holds."""
    names = ("mu", "sigma", "mu_s", "sigma_s")
    members = {name: find_array(path, name) for name in names}
    with reading(path):  # Text is no number.
        found = {
            name: one.whole().astype(np.float64) for name, one in members.items() if one is not None
        }
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
    LocalFile.find(path)
    with reading(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise ``DataError`` for whatever a damaged npz file is answered with."""
    try:
        yield
    except UserError:
        raise
    # Damaged archives and headers are answered with whatever went wrong: BadZipFile, zlib.error,
    # RuntimeError (encrypted, or too deeply nested), ValueError, SyntaxError, tokenize.TokenError.
    except Exception as error:
        raise DataError(f"cannot read {path} as an npz file: {reason_of(error)}") from error


class NpzImages(ImageSource):
    """The array ``arr_0``, uint8 (N, H, W, 3), of an npz as evaluation suites exchange them.

    ``np.savez`` stores arrays uncompressed, so the array is mapped from the file and only the
    images asked for are read. One written by ``np.savez_compressed`` is decompressed in pieces,
    from its start: reading it in order costs one pass. The id is the index, zero-padded.
    """

    numbered = True

    def __init__(self, path: Path, max_mb: int = MAX_IMAGE_MB) -> None:
        self.name = path.stem
        self._path = path
        self.max_mb = max_mb
        array = find_array(path, "arr_0")
        if array is None:
            raise DataError(
                f"no array arr_0 in {path}, which holds: {', '.join(array_names(path))}"
            )
        shape, dtype = array.shape, array.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3:
            raise DataError(
                f"arr_0 in {path} is {dtype} {shape}: images are uint8 of shape (N, H, W, 3)"
            )
        if 0 in shape:
            raise DataError(f"no images in {path}: arr_0 has shape {shape}")
        check_size(shape[2], shape[1], max_mb)
        check_count(shape[0], LocalFile.find(path))
        self.ids = number_ids(shape[0])
        mapped = array.mapped()
        if mapped is None and array.fortran:
            raise DataError(f"arr_0 in {path} is compressed in column order: save it again")
        if mapped is None:
            count = max(1, PIECE_BYTES // math.prod(shape[1:]))
            self._images: Any = Pieces(partial(_image_pieces, array, count))
        else:
            self._images = mapped

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again in another process."""
        return type(self), (self._path, self.max_mb)

    def read(self, image_id: str) -> Image.Image:
        """Copy one image out of the array."""
        return Image.fromarray(np.ascontiguousarray(self._images[int(image_id)]))


def _image_pieces(array: ArrayMember, count: int) -> Iterator[Any]:
    """Yield the images of an array, so many at a time."""
    images, *shape = array.shape
    counts = [min(count, images - start) for start in range(0, images, count)]
    size = shape[0] * shape[1] * shape[2]
    for number, data in zip(counts, array.pieces([n * size for n in counts]), strict=True):
        yield np.frombuffer(data, np.uint8).reshape(number, *shape)
