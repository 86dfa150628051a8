"""Files that images are packed in, of which pieces are read: on a disk, or behind a URL."""

from __future__ import annotations

import errno
import io
import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ssdd_bench.errors import DataError, SourceError
from ssdd_bench.weights.download import OFFLINE_REASON, is_offline
from ssdd_bench.weights.hub import REASONS

READ_AHEAD: Final = 1 << 20
"""Bytes that are fetched at a time where a remote file is read from its start to its end."""
_LOCAL: Final = ("file", "local", "memory")
# Entries by which one file system or another says that a file changed.
_STAMPS: Final = ("blob_id", "etag", "ETag", "checksum", "md5", "mtime", "LastModified", "created")
# Errors that say nothing about the file: without a distinction its images would be left out.
_FAILURES: Final = frozenset(
    (
        errno.EIO,
        errno.ESTALE,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENODEV,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ENOTCONN,
        errno.EHOSTUNREACH,
    )
)


@dataclass(frozen=True)
class DataFile(ABC):
    """A file of which any thread reads pieces.

    Attributes:
        url: path or URL.
        size: in bytes.
        stamp: changes when the content does; "" if nothing is known that does.
    """

    url: str
    size: int
    stamp: str

    @abstractmethod
    def open(self) -> io.BufferedReader:
        """Open it for reading from its start; ``SourceError`` here or later if that fails."""

    @abstractmethod
    def fetch(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to ``end``, fewer at the end of the file."""

    def read(self, start: int, size: int) -> bytes:
        """Return a piece.

        Raises:
            SourceError: the disk or the server fails, or the file has become shorter.
        """
        data = self.fetch(start, start + size)
        if len(data) != size:
            raise SourceError(f"{self.url} is shorter than when it was opened")
        return data


class LocalFile(DataFile):
    """A regular file."""

    @classmethod
    def find(cls, path: Path) -> LocalFile:
        """Look a file up; ``DataError`` if it is not there or no regular file."""
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {describe(error)}") from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a regular file")
        return cls(str(path.absolute()), status.st_size, str(status.st_mtime_ns))

    def open(self) -> io.BufferedReader:
        """Open the file."""
        try:
            return Path(self.url).open("rb")
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {describe(error)}") from error

    def fetch(self, start: int, end: int) -> bytes:
        """Read from the disk."""
        with self.open() as file:
            try:
                file.seek(start)
                return file.read(end - start)
            except OSError as error:
                raise SourceError(f"cannot read {self.url}: {describe(error)}") from error


class RemoteFile(DataFile):
    """A file behind a URL that fsspec reads, such as ``hf://datasets/...``.

    An error of the connection is never taken for one of an image.
    """

    @classmethod
    def of(cls, system: Any, info: dict[str, Any]) -> RemoteFile:
        """Describe a file by an entry of its file system's listing."""
        url = system.unstrip_protocol(info["name"])
        if info.get("size") is None:
            raise DataError(f"{url}: the server does not tell its size: download it")
        stamp = next((str(info[key]) for key in _STAMPS if info.get(key)), "")
        return cls(url, info["size"], stamp)

    def open(self) -> io.BufferedReader:
        """Open it for reading with some bytes fetched ahead."""
        return io.BufferedReader(self.unbuffered(), READ_AHEAD)

    def unbuffered(self) -> io.RawIOBase:
        """Open it such that just what is read is fetched."""
        return _Fetched(self)

    def fetch(self, start: int, end: int) -> bytes:
        """Fetch from the server."""
        system, path = file_system(self.url)
        # By default fsspec fetches some MB more than it was asked for.
        exact = {} if system.async_impl else {"cache_type": "none"}
        try:
            data: bytes = system.cat_file(path, start, min(end, self.size), **exact)
            return data
        except Exception as error:
            raise SourceError(f"cannot read {self.url}: {describe(error)}") from error


class _Fetched(io.RawIOBase):
    """A remote file for readers of binary files, such as Arrow and tarfile."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), max(0, self._file.size - self._at))
        if size:
            buffer[:size] = self._file.read(self._at, size)
        self._at += size
        return size


def is_hub(system: Any) -> bool:
    """Return True for the file system of the Hugging Face Hub."""
    return "hf" in system.protocol


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of fsspec for a URL, and the path there.

    Raises:
        DataError: the scheme is unknown, what reads it is not installed, or the network is
            forbidden.
    """
    from fsspec.core import url_to_fs

    if is_offline() and url.partition("://")[0] not in _LOCAL:
        raise DataError(f"{url} needs the network, and {OFFLINE_REASON}: download it")
    try:
        system, path = url_to_fs(url)
    except Exception as error:
        raise DataError(f"cannot open {url}: {describe(error)}") from error
    return system, str(path)


def is_failure(error: BaseException) -> bool:
    """Return True for an error of a disk or a network, False for one of a file's content."""
    return getattr(error, "errno", None) in _FAILURES


def describe(error: BaseException) -> str:
    """Describe an error of a disk or a server in one line."""
    causes = (type(error).__name__, type(error.__cause__).__name__)
    known = next((REASONS[name] for name in causes if name in REASONS), "")
    if not known and isinstance(error, FileNotFoundError):
        known = "no such file or folder"
    text = (getattr(error, "strerror", None) or str(error)).strip()
    return known or next(iter(text.splitlines()), "") or causes[0]
