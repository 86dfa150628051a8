"""Images packed into few large files: WebDataset shards, npz arrays and Parquet tables."""

from __future__ import annotations

import tarfile
import threading
import zipfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.data.decode import SUFFIXES, decode_image
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError


class TarImages(ImageSource):
    """Image members of uncompressed tar files, WebDataset shards among them.

    Headers are read once; an image is then one seek and one read. The id is the member's path
    after the prefix. Of two members with one path the later counts, as when unpacking.

    Args:
        name: name of the set.
        shards: id prefix (empty, or ending in a slash) -> tar file.

    Raises:
        DataError: a file is damaged or compressed, or there is no image in any.
    """

    def __init__(self, name: str, shards: dict[str, Path]) -> None:
        self.name = name
        self._where: dict[str, tuple[Path, int, int]] = {}
        for prefix, shard in shards.items():
            try:
                with tarfile.open(shard, "r:") as tar:
                    for member in tar:
                        path = PurePosixPath(member.name)
                        if member.isreg() and _is_image(path):
                            where = (shard, member.offset_data, member.size)
                            self._where[prefix + path.as_posix()] = where
            except (tarfile.TarError, OSError) as error:
                raise DataError(
                    f"cannot read {shard} ({error}): give an uncompressed .tar"
                ) from error
        if not self._where:
            raise DataError(f"no images in {_listing(shards)}")
        self.ids = tuple(sorted(self._where))

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


class NpzImages(ImageSource):
    """The array ``arr_0``, uint8 (N, H, W, 3), of an npz as evaluation suites exchange them.

    ``np.savez`` stores arrays uncompressed, so the array is mapped from the file and only the
    images asked for are read. One written by ``np.savez_compressed`` cannot be mapped and is
    **loaded whole into memory**. The id is the index, zero-padded.

    Raises:
        DataError: not an npz, no ``arr_0`` in it, or another type or shape.
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
        width = max(6, len(str(len(self._images) - 1)))
        self.ids = tuple(f"{i:0{width}d}" for i in range(len(self._images)))

    def read(self, image_id: str) -> Image.Image:
        """Copy one image out of the array."""
        return Image.fromarray(np.ascontiguousarray(self._images[int(image_id)]))


class ParquetImages(ImageSource):
    """Encoded images in a column of Parquet files, as Hugging Face datasets store them.

    The column is ``image``, or the only one that holds bytes (or a struct with a field
    ``bytes``). Two row groups are kept at most, which suits reading in order. The id is the row
    number after the prefix.

    Args:
        name: name of the set.
        shards: id prefix (empty, or ending in a slash) -> Parquet file.

    Raises:
        DataError: a file is damaged, or there is no such column.
    """

    _KEPT_GROUPS = 2  # threads that read ahead straddle the end of one

    def __init__(self, name: str, shards: dict[str, Path]) -> None:
        self.name = name
        self._where: dict[str, tuple[Path, int, int]] = {}
        self._columns: dict[Path, str] = {}
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._lock = threading.Lock()
        for prefix, shard in shards.items():
            try:
                with pq.ParquetFile(shard) as file:
                    self._columns[shard] = _image_column(file.schema_arrow, shard)
                    metadata = file.metadata
                    width = max(6, len(str(max(metadata.num_rows - 1, 0))))
                    row = 0
                    for group in range(metadata.num_row_groups):
                        for offset in range(metadata.row_group(group).num_rows):
                            self._where[f"{prefix}{row:0{width}d}"] = (shard, group, offset)
                            row += 1
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"cannot read {shard} as Parquet: {error}") from error
        if not self._where:
            raise DataError(f"no images in {_listing(shards)}")
        self.ids = tuple(sorted(self._where))

    def read(self, image_id: str) -> Image.Image:
        """Decode the image of one row."""
        shard, group, offset = self._where[image_id]
        value = self._group(shard, group)[offset].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if not data:
            raise DataError("the row holds no bytes")
        return decode_image(data)

    def _group(self, shard: Path, group: int) -> Any:
        with self._lock:
            key = (shard, group)
            if key not in self._groups:
                while len(self._groups) >= self._KEPT_GROUPS:
                    self._groups.popitem(last=False)
                try:
                    with pq.ParquetFile(shard) as file:
                        table = file.read_row_group(group, columns=[self._columns[shard]])
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"cannot read row group {group} of {shard}: {error}") from error
                self._groups[key] = table.column(0)
            self._groups.move_to_end(key)
            return self._groups[key]


def _is_image(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _listing(shards: dict[str, Path]) -> str:
    first = next(iter(shards.values()))
    return str(first) if len(shards) == 1 else f"the {len(shards)} files beside {first}"


def _map_npz(path: Path, key: str) -> NDArray[Any]:
    """Map one array of an npz if it is stored, load it if it is compressed."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if {"mu.npy", "sigma.npy"} <= set(names):
            raise DataError(
                f"{path} holds statistics (mu, sigma), as published of training sets to score "
                "generated images by: reconstructions are compared with the very crops that were "
                "encoded, so give images"
            )
        if f"{key}.npy" not in names:
            held = ", ".join(name.removesuffix(".npy") for name in names)
            raise DataError(f"no array {key} in {path}, which holds: {held}")
        entry = archive.getinfo(f"{key}.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            with np.load(path, allow_pickle=False) as arrays:
                loaded: NDArray[Any] = arrays[key]
            return loaded
        with archive.open(entry) as member:
            version = np.lib.format.read_magic(member)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise ValueError(f"npy version {version} is not supported")
            shape, fortran, dtype = read_header(member)
            header_size = member.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    # The local header, not the central directory, says where the data starts: its extra field
    # may be longer (zip64). zipfile's own seek would read through the file on Python 3.11.
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name_size = int.from_bytes(file.read(2), "little")
        extra_size = int.from_bytes(file.read(2), "little")
    start = entry.header_offset + 30 + name_size + extra_size + header_size
    if 0 in shape:
        return np.empty(shape, dtype)
    order: Literal["C", "F"] = "F" if fortran else "C"
    mapped: NDArray[Any] = np.memmap(path, dtype, "r", offset=start, shape=shape, order=order)
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
