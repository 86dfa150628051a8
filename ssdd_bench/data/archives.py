"""Images packed into few large files: WebDataset shards, npz arrays and Parquet tables."""

from __future__ import annotations

import math
import re
import struct
import tarfile
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.data.decode import MAX_IMAGE_MB, MB, SUFFIXES, check_size, decode_image
from ssdd_bench.data.files import DataFile, LocalFile, RemoteFile, is_failure
from ssdd_bench.data.index import Index, cached_index
from ssdd_bench.data.npz import ArrayMember, array_names, find_array
from ssdd_bench.data.pieces import Pieces
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import map_ahead
from ssdd_bench.errors import DataError, SourceError, counted, reason_of

READERS: Final = 8
"""Threads that read the indexes of shards."""
PIECE_BYTES: Final = 4 << 20
"""Size of what is decompressed at a time, if it holds more than one image."""
PIECE_ROWS: Final = 32
"""Rows of a Parquet file that are decompressed at a time, at most."""
FETCHED_BYTES: Final = 8 << 20
"""Bytes that are fetched at a time of a column of a remote file."""
BLOCK: Final = 512
"""Bytes of a block of a tar."""
PLAIN: Final = re.compile(
    rb"([^\0].{99})(?:[0-7]{7}\0){3}([0-7]{11})[\0 ][0-7]{11}[\0 ]([0-7]{6})\0 "
    rb"[0\0].{172}(?:[0-7]{7}\0|\0{8}){2}\0.{166}",  # of a file, without a prefix of its name
    re.DOTALL,
)
"""Header of a file as most are: its name, size and checksum; all numbers are octal."""


# What tarfile answers numbers and texts in headers with that cannot be right.
_BAD_HEADER: Final = (
    ValueError,
    LookupError,
    OverflowError,
    EOFError,
    RecursionError,
    MemoryError,
    struct.error,
)
# Arrow passes exceptions of C++ on as RuntimeError.
PARQUET_ERRORS: Final = (pa.ArrowException, OSError, ValueError, RuntimeError, MemoryError)


Members = tuple[Sequence[str], NDArray[np.int64], NDArray[np.int64]]
"""Keys of the images in a shard, and two numbers for each that say where it is."""


class ShardedImages(ImageSource):
    """Images in several files; an id is the prefix of its file and a key in it.

    Args:
        name: of the set.
        shards: the files by prefix, which is empty or ends in a slash.
        max_mb: limit of an image, see :func:`ssdd_bench.data.decode.decode_image`.
    """

    def __init__(
        self, name: str, shards: Mapping[str, Path | RemoteFile], max_mb: int = MAX_IMAGE_MB
    ) -> None:
        self.name = name
        self.max_mb = max_mb
        self._shards = dict(shards)
        self._files: list[DataFile] = [
            LocalFile.find(one) if isinstance(one, Path) else one for one in shards.values()
        ]
        found = map_ahead(self._members, self._files, min(READERS, len(shards) - 1), "index")
        ids: list[str] = []
        places: list[NDArray[np.int64]] = []  # of each image: the number of its file, then two more
        for number, (prefix, (keys, first, second)) in enumerate(zip(shards, found, strict=True)):
            ids += [prefix + key for key in keys]
            places.append(np.stack([np.full(len(keys), number), first, second], axis=1))
        if not ids:
            more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
            raise DataError(f"no images in {self._files[0].url}{more}")
        # Numbers take a quarter of what a dictionary by id would.
        self._places: NDArray[np.int64] = np.concatenate(places)
        if any(one > other for one, other in pairwise(ids)):
            order = sorted(range(len(ids)), key=ids.__getitem__)
            ids = [ids[index] for index in order]
            self._places = self._places[order]
        self.ids = tuple(ids)
        if twice := next((one for one, other in pairwise(self.ids) if one == other), None):
            raise DataError(f"two images of {name} have the id {twice}: rename a shard")

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again in another process."""
        return type(self), (self.name, self._shards, self.max_mb)

    def _where(self, image_id: str) -> tuple[DataFile, int, int]:
        """Return the file of an image, and the two numbers that say where it is in there."""
        number, first, second = self._places[self._index(image_id)].tolist()
        return self._files[number], first, second

    @abstractmethod
    def _members(self, shard: DataFile) -> Members:
        """Find the images in a file."""


class TarImages(ShardedImages):
    """Image members of uncompressed tar files, WebDataset shards among them.

    Headers are read once and then kept in our cache; an image is one seek and one read. The key is
    the member's path. Of two members with one path the later counts, as when unpacking.
    """

    def read(self, image_id: str) -> Image.Image:
        """Decode one member."""
        return self._decode_part(*self._where(image_id))

    def _members(self, shard: DataFile) -> Members:
        index = cached_index(shard, f"tar 1 {sorted(SUFFIXES)}", _index_tar)
        return index.texts, index.numbers["start"], index.numbers["size"]


class ParquetImages(ShardedImages):
    """Encoded images in a column of Parquet files, as Hugging Face datasets store them.

    The column is ``image``, or the only one that holds bytes (or a struct with a field
    ``bytes``). Rows are read in pieces of some MB. Two row groups are open at most, since threads
    that read ahead straddle the end of one. The key is the row number.
    """

    def __init__(
        self, name: str, shards: Mapping[str, Path | RemoteFile], max_mb: int = MAX_IMAGE_MB
    ) -> None:
        self._indexes: dict[str, Index] = {}
        begin = partial(_begin_group, self._indexes, lru_cache(2)(_read_footer), max_mb)
        self._group = lru_cache(2)(begin)  # a group is closed when two others were used since
        self._lock = threading.Lock()
        super().__init__(name, shards, max_mb)

    def read(self, image_id: str) -> Image.Image:
        """Decode the image of one row."""
        shard, group, row = self._where(image_id)
        with self._lock:
            rows = self._group(shard, group)
        value = rows[row].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if not data:
            raise DataError("the row holds no bytes")
        return decode_image(data, self.max_mb)

    def _members(self, shard: DataFile) -> Members:
        index = self._indexes[shard.url] = cached_index(shard, "parquet 1", _index_parquet)
        rows = index.numbers["rows"]
        total = int(rows.sum())
        _check_count(total, shard)
        groups = np.repeat(np.arange(len(rows)), rows)
        return _numbers(total), groups, np.arange(total) - (rows.cumsum() - rows)[groups]


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
        _check_count(shape[0], LocalFile.find(path))
        self.ids = _numbers(shape[0])
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


def _numbers(count: int) -> tuple[str, ...]:
    """Return row numbers as ids, zero-padded to one width."""
    width = max(6, len(str(count - 1)))
    return tuple(f"{i:0{width}d}" for i in range(count))


def _check_count(images: int, file: DataFile) -> None:
    """Refuse a number of images that a compressed file can state but not hold."""
    if images > file.size:
        raise DataError(f"{file.url} has {file.size:,} bytes and cannot hold {images:,} images")


# Tar files.


class _Headers:
    """A binary file that tarfile reads headers of, and no more than one could have."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MB:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data: bytes = self._file.read(size)
        return data


def _members_of(tar: Any, file: Any) -> Iterator[tuple[str, int, int, bool]]:
    """Yield name, place and size of the members of a tar, and whether they are files.

    Plain headers are read here, in a fifth of tarfile's time; all others are left to tarfile.
    """
    offset = 0
    while True:
        if offset and not tar.pax_headers:  # these are for all members that follow
            file.seek(offset)
            while found := read_plain(file.read(BLOCK)):
                name, size = found
                yield name, offset + BLOCK, size, True
                offset += BLOCK + -(-size // BLOCK) * BLOCK
                file.seek(offset)
            tar.offset = offset
            file.seek(offset - 1)  # tarfile tests then that the last file is not cut off
        if (member := tar.next()) is None:
            return
        tar.members.clear()
        if member.size < 0 or tar.offset <= offset or member.sparse is not None:
            raise tarfile.ReadError(f"bad member {member.name}")
        offset = tar.offset
        yield member.name, member.offset_data, member.size, member.isreg()


def read_plain(header: bytes) -> tuple[str, int] | None:
    """Return name and size if a header is a whole and plain one; else None."""
    if (match := PLAIN.fullmatch(header)) is None:
        return None
    field, size, checksum = match.groups()
    name = field.partition(b"\0")[0]
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if total != int(checksum, 8) or name.endswith(b"/"):  # the latter was a folder once
        return None
    return name.decode("utf-8", "surrogateescape"), int(size, 8)


def _index_tar(shard: DataFile) -> Index:
    """Find the image members of a tar; ``DataError`` if it is damaged or has no end."""
    found: dict[str, tuple[int, int]] = {}
    last = ""
    try:
        with shard.open() as file, tarfile.open(fileobj=_Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
            for last, start, size, is_file in _members_of(tar, file):
                if not (is_file and last.rstrip("./").lower().endswith(tuple(SUFFIXES))):
                    continue  # in less time than it takes to make a path
                path = PurePosixPath(last)
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    found[path.as_posix()] = start, size
            # tarfile takes a damaged header, or none, for the end of the archive.
            file.seek(tar.offset)
            end = file.read(BLOCK)
            if len(end) < BLOCK:
                raise tarfile.ReadError("it has no end mark: it is cut off")
            if end.strip(b"\0"):
                raise tarfile.ReadError("bad header")
            if file.read(MB).strip(b"\0"):
                raise tarfile.ReadError("something follows its end mark: unpack and pack it again")
    except (tarfile.TarError, OSError, *_BAD_HEADER) as error:
        after = f" after member {last[:200]!r}" if last else ""
        advice = "" if last else ": give an uncompressed .tar"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read {shard.url}{after} ({reason}){advice}") from error
    places = np.array(list(found.values()), dtype=np.int64).reshape(-1, 2).T
    numbers = dict(zip(("start", "size"), np.ascontiguousarray(places), strict=True))
    return Index(tuple(found), numbers)


# Parquet files.


def _index_parquet(shard: DataFile) -> Index:
    """Find the column of images, and the rows and uncompressed bytes of each row group."""
    try:
        with _open_parquet(shard) as file:
            column = _image_column(file.schema_arrow, shard.url)
            metadata = file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        # Not by column: asking for a damaged column ends the process.
        size = [group.total_byte_size for group in groups]
    except PARQUET_ERRORS as error:
        raise _damage(f"{shard.url} as Parquet", error) from error
    rows = [group.num_rows for group in groups]
    if min([0, *rows, *size]) < 0:
        raise DataError(
            f"cannot read {shard.url} as Parquet: a group has {min(rows)} rows in {min(size)} bytes"
        )
    return Index((column,), {"rows": np.array(rows, np.int64), "bytes": np.array(size, np.int64)})


def _begin_group(
    indexes: Mapping[str, Index],
    footer: Callable[[DataFile], pq.FileMetaData],
    max_mb: int,
    shard: DataFile,
    group: int,
) -> Pieces:
    """Return the rows of a group; ``DataError`` if they hold more than so many images can."""
    index = indexes[shard.url]
    rows, size = (int(index.numbers[key][group]) for key in ("rows", "bytes"))
    if size > rows * max_mb * MB:
        raise DataError(f"row group {group} has {size / MB:,.0f} MB for {counted(rows, 'image')}")
    # A value may be as large as all that the group's dictionary holds.
    count = max(1, min(PIECE_ROWS, max_mb * MB // max(1, size)))
    return Pieces(partial(_row_pieces, shard, footer, group, index.texts[0], count))


def _row_pieces(
    shard: DataFile,
    footer: Callable[[DataFile], pq.FileMetaData],
    group: int,
    column: str,
    count: int,
) -> Iterator[Any]:
    """Yield the values of a row group, so many rows at a time."""
    try:
        with _open_parquet(shard, footer(shard)) as file:
            kind = file.schema_arrow.field(column).type
            leaf = f"{column}.bytes" if pa.types.is_struct(kind) else column
            # A page is decompressed whole, and may have all rows of a group. So that it does not
            # stay in memory until another group is read, the file is closed before the last piece.
            last = None
            for batch in file.iter_batches(count, [group], columns=[leaf], use_threads=False):
                if last is not None:
                    yield last
                last = batch.column(0)
        if last is not None:
            yield last
    except PARQUET_ERRORS as error:
        raise _damage(f"row group {group} of {shard.url}", error) from error


def _read_footer(shard: DataFile) -> pq.FileMetaData:
    with _open_parquet(shard) as file:
        return file.metadata


def _open_parquet(shard: DataFile, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    file: Any
    if isinstance(shard, RemoteFile):
        file, buffer = shard.unbuffered(), FETCHED_BYTES
    else:
        file, buffer = shard.url, MB
    # Buffering ahead would read the row group as a whole.
    return pq.ParquetFile(file, metadata=footer, buffer_size=buffer, pre_buffer=False)


def _damage(what: str, error: Exception) -> DataError | SourceError:
    """Tell a file that is damaged, for which Arrow has an OSError too, from a disk that fails."""
    kind = SourceError if is_failure(error) else DataError
    return kind(f"cannot read {what}: {reason_of(error)}")


def _image_column(schema: pa.Schema, url: str) -> str:
    candidates = [field.name for field in schema if _holds_bytes(field.type)]
    if "image" in candidates:
        return "image"
    if len(candidates) == 1:
        return str(candidates[0])
    columns = ", ".join(schema.names)
    raise DataError(f"no column 'image' with encoded images in {url}, which has: {columns}")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


# Compressed npz files.


def _image_pieces(array: ArrayMember, count: int) -> Iterator[Any]:
    """Yield the images of an array, so many at a time."""
    images, *shape = array.shape
    counts = [min(count, images - start) for start in range(0, images, count)]
    size = shape[0] * shape[1] * shape[2]
    for number, data in zip(counts, array.pieces([n * size for n in counts]), strict=True):
        yield np.frombuffer(data, np.uint8).reshape(number, *shape)
