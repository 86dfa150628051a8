"""Images in tar files, such as WebDataset shards."""

from __future__ import annotations

import re
import struct
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
from PIL import Image

from ssdd_bench.data.decode import MB, SUFFIXES
from ssdd_bench.data.files import DataFile
from ssdd_bench.data.index import Index, cached_index
from ssdd_bench.data.shards import Members, ShardedImages
from ssdd_bench.errors import DataError, reason_of

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
        raise DataError(f"cannot read {shard.url}{after} ({reason_of(error)}){advice}") from error
    places = np.array(list(found.values()), dtype=np.int64).reshape(-1, 2).T
    numbers = dict(zip(("start", "size"), np.ascontiguousarray(places), strict=True))
    return Index(tuple(found), numbers)
