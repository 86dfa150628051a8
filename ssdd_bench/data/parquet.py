"""Images in a column of Parquet files, as data sets on the Hugging Face Hub have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ssdd_bench.data.decode import MAX_IMAGE_MB, MB, decode_image
from ssdd_bench.data.files import DataFile, RemoteFile, is_failure
from ssdd_bench.data.index import Index, cached_index
from ssdd_bench.data.pieces import Pieces
from ssdd_bench.data.shards import Members, ShardedImages
from ssdd_bench.data.source import check_count, number_ids
from ssdd_bench.errors import DataError, SourceError, counted, reason_of

PIECE_ROWS: Final = 32
"""Rows of a Parquet file that are decompressed at a time, at most."""
FETCHED_BYTES: Final = 8 << 20
"""Bytes that are fetched at a time of a column of a remote file."""
# Arrow passes exceptions of C++ on as RuntimeError.
PARQUET_ERRORS: Final = (pa.ArrowException, OSError, ValueError, RuntimeError, MemoryError)


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
        total = sum(rows.tolist())  # which int64 may not hold, as a damaged file states it
        check_count(total, shard)
        groups = np.repeat(np.arange(len(rows)), rows)
        return number_ids(total), groups, np.arange(total) - (rows.cumsum() - rows)[groups]


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
