"""Images packed into few large files: WebDataset shards, npz arrays and Parquet tables."""

from __future__ import annotations

import struct
import tarfile
import threading
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.data.decode import SUFFIXES, decode_image
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError


class ShardedImages(ImageSource):
    """Images in several files; an id is the prefix of its file and a key in it.

    ``shards`` has the files by prefix, which is empty or ends in a slash.
    """

    def __init__(self, name: str, shards: dict[str, Path]) -> None:
        self.name = name
        self._where: dict[str, tuple[Path, int, int]] = {}
        for prefix, shard in shards.items():
            for key, first, second in self._index(shard):
                self._where[prefix + key] = (shard, first, second)
        if not self._where:
            path = next(iter(shards.values()))
            where = path if len(shards) == 1 else f"the {len(shards)} files beside {path}"
            raise DataError(f"no images in {where}")
        self.ids = tuple(sorted(self._where))

    @abstractmethod
    def _index(self, shard: Path) -> Iterator[tuple[str, int, int]]:
        """Yield the key of each image, and two numbers that say where it is."""


class TarImages(ShardedImages):
    """Image members of uncompressed tar files, WebDataset shards among them.

    Headers are read once; an image is then one seek and one read. The key is the member's path.
    Of two members with one path the later counts, as when unpacking.
    """

    def _index(self, shard: Path) -> Iterator[tuple[str, int, int]]:
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    is_image = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
                    if member.isreg() and is_image:
                        yield path.as_posix(), member.offset_data, member.size
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"cannot read {shard} ({error}): give an uncompressed .tar") from error

    def read(self, image_id: str) -> Image.Image:
        """Decode one member."""
        shard, offset, size = self._where[image_id]
        try:
            with shard.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise DataError(f"cannot read {shard}: {error.strerror}") from error
        return decode_image(data)


class ParquetImages(ShardedImages):
    """Encoded images in a column of Parquet files, as Hugging Face datasets store them.

    The column is ``image``, or the only one that holds bytes (or a struct with a field
    ``bytes``). Two row groups are kept at most, since threads that read ahead straddle the end of
    one. The key is the row number.
    """

    def __init__(self, name: str, shards: dict[str, Path]) -> None:
        self._columns: dict[Path, str] = {}
        self._group = lru_cache(2)(self._read_group)
        self._lock = threading.Lock()
        super().__init__(name, shards)

    def _index(self, shard: Path) -> Iterator[tuple[str, int, int]]:
        try:
            with pq.ParquetFile(shard) as file:
                self._columns[shard] = _image_column(file.schema_arrow, shard)
                metadata = file.metadata
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"cannot read {shard} as Parquet: {error}") from error
        groups = range(metadata.num_row_groups)
        rows = ((g, r) for g in groups for r in range(metadata.row_group(g).num_rows))
        for number, (group, row) in zip(_numbers(metadata.num_rows), rows, strict=True):
            yield number, group, row

    def read(self, image_id: str) -> Image.Image:
        """Decode the image of one row."""
        shard, group, row = self._where[image_id]
        with self._lock:
            column = self._group(shard, group)
        value = column[row].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if not data:
            raise DataError("the row holds no bytes")
        return decode_image(data)

    def _read_group(self, shard: Path, group: int) -> Any:
        try:
            with pq.ParquetFile(shard) as file:
                return file.read_row_group(group, columns=[self._columns[shard]]).column(0)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"cannot read row group {group} of {shard}: {error}") from error


class NpzImages(ImageSource):
    """The array ``arr_0``, uint8 (N, H, W, 3), of an npz as evaluation suites exchange them.

    ``np.savez`` stores arrays uncompressed, so the array is mapped from the file and only the
    images asked for are read. One written by ``np.savez_compressed`` cannot be mapped and is
    **loaded whole into memory**. The id is the index, zero-padded.
    """

    numbered = True

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        try:
            self._images = _map_npz(path, "arr_0")
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path} as an npz file: {error}") from error
        shape, dtype = self._images.shape, self._images.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3:
            raise DataError(
                f"arr_0 in {path} is {dtype} {shape}: images are uint8 of shape (N, H, W, 3)"
            )
        if len(self._images) == 0:
            raise DataError(f"no images in {path}")
        self.ids = tuple(_numbers(len(self._images)))

    def read(self, image_id: str) -> Image.Image:
        """Copy one image out of the array."""
        return Image.fromarray(np.ascontiguousarray(self._images[int(image_id)]))


def _numbers(count: int) -> Iterator[str]:
    """Yield row numbers as ids, zero-padded to one width."""
    width = max(6, len(str(count - 1)))
    return (f"{i:0{width}d}" for i in range(count))


def _map_npz(path: Path, key: str) -> NDArray[Any]:
    """Map an array of bytes in an npz as `np.savez` stores it; load any other one."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if f"{key}.npy" not in names:
            held = ", ".join(name.removesuffix(".npy") for name in names)
            raise DataError(f"no array {key} in {path}, which holds: {held}")
        entry = archive.getinfo(f"{key}.npy")
        with archive.open(entry) as member:
            stored = entry.compress_type == zipfile.ZIP_STORED
            if stored := stored and np.lib.format.read_magic(member) == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
            header_size = member.tell()
    if not stored or fortran or dtype != np.uint8 or 0 in shape:
        with np.load(path, allow_pickle=False) as arrays:
            loaded: NDArray[Any] = arrays[key]
        return loaded
    # The local header, not the central directory, says where the data starts: its extra field
    # may be longer (zip64). zipfile's own seek would read through the file on Python 3.11.
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name_size, extra_size = struct.unpack("<HH", file.read(4))
    start = entry.header_offset + 30 + name_size + extra_size + header_size
    mapped: NDArray[Any] = np.memmap(path, dtype, "r", offset=start, shape=shape)
    return mapped


def _image_column(schema: pa.Schema, shard: Path) -> str:
    candidates = [field.name for field in schema if _holds_bytes(field.type)]
    if "image" in candidates:
        return "image"
    if len(candidates) == 1:
        return str(candidates[0])
    columns = ", ".join(schema.names)
    raise DataError(f"no column 'image' with encoded images in {shard}, which has: {columns}")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
