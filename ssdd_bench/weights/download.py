"""Fetch external weights: resumed, verified and with time-outs."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from ssdd_bench.errors import OutputError, UnavailableError, WeightsError
from ssdd_bench.results.files import LOCK_PREFIX
from ssdd_bench.weights.assets import Asset, cache_folder, cached_path, get_asset, require
from ssdd_bench.weights.files import sha256_file

TIMEOUT_S = 20.0  # to connect, and between two chunks
ATTEMPTS = 3
CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]


_OFFLINE: Final = "SSDD_BENCH_OFFLINE"
OFFLINE_REASON: Final = f"{_OFFLINE} is set"


def is_offline() -> bool:
    """Return True if ``$SSDD_BENCH_OFFLINE`` forbids the network."""
    return os.environ.get(_OFFLINE, "") not in ("", "0")


def go_offline() -> None:
    """Forbid the network to this process and those that it starts."""
    os.environ[_OFFLINE] = "1"


def fetch(
    name: str,
    progress: Progress = lambda done, total: None,
    waiting: Callable[[], None] = lambda: None,
) -> Path:
    """Return the path of a verified file, downloaded into our cache if it is not on this machine.

    An interrupted download leaves ``FILE.part``, which the next call resumes. If another process is
    at it, wait for its end.

    Args:
        name: of an asset.
        progress: called with the bytes that are here and their total.
        waiting: called once if another process is at it.

    Raises:
        UnavailableError: the network is forbidden or fails, or no checksum of the file is known.
        WeightsError: the file is not the published one; what was downloaded is deleted.
        OutputError: the cache cannot be written or is too full.
    """
    asset = get_asset(name)
    if cached_path(name) or not asset.sha256:
        return require(name)
    path = cache_folder() / "weights" / asset.file
    if is_offline():
        raise _failure(asset, path, OFFLINE_REASON)
    with _lock(path, waiting):
        if not cached_path(name):  # which another process may have fetched meanwhile
            _download(asset, path, progress)
            return path
    return require(name)


@contextmanager
def _lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time download a file, since all of them resume one part."""
    lock = FileLock(path.with_name(f"{LOCK_PREFIX}{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _download(asset: Asset, path: Path, progress: Progress) -> None:
    """Download and verify a file; see :func:`fetch`."""
    part = path.with_name(f"{path.name}.part")
    _make_room(asset, part)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _resume(asset, part, progress)
            break
        except (OSError, HTTPException) as error:
            status = None
            if isinstance(error, HTTPError):
                status = error.code
                error.close()  # its page
            if status == 416:  # the server's file is shorter than our part
                part.unlink(missing_ok=True)
            if attempt == ATTEMPTS or (status and status < 500):
                reason = error.reason if isinstance(error, URLError) else error
                raise _failure(asset, path, f"HTTP {status}" if status else reason) from error
    found = sha256_file(part)
    if found != asset.sha256:
        part.unlink()
        raise WeightsError(
            f"{asset.url} sent a file with sha256 {found[:12]}, expected {asset.sha256[:12]}. It "
            f"was deleted: try again, or put the published file at {path}"
        )
    part.replace(path)


def _make_room(asset: Asset, part: Path) -> None:
    try:
        part.touch()
        free = shutil.disk_usage(part.parent).free
    except OSError as error:
        raise _unwritable(part, error) from error
    if asset.bytes - part.stat().st_size > free:
        raise OutputError(
            f"{asset.file} has {asset.size}, and {part.parent} has room for {free / 1e6:.0f} MB. "
            "Choose another folder with XDG_CACHE_HOME"
        )


def _resume(asset: Asset, part: Path, progress: Progress) -> None:
    """Append the bytes that a partial file lacks, all of them if the server knows no ranges."""
    done = part.stat().st_size if part.exists() else 0
    if done >= asset.bytes:  # complete, or wrong, which its checksum tells
        return
    headers = {"User-Agent": "ssdd-bench", "Range": f"bytes={done}-"}
    with urlopen(Request(asset.url, headers=headers), timeout=TIMEOUT_S) as response:
        resumed = response.status == 206
        done = done if resumed else 0
        progress(done, asset.bytes)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read1(CHUNK_BYTES):
                if done + len(chunk) > asset.bytes:
                    raise ConnectionError(f"the server sends more than {asset.bytes} bytes")
                done += file.write(chunk)
                progress(done, asset.bytes)
    if done < asset.bytes:
        raise ConnectionError(f"the connection broke off after {done} of {asset.bytes} bytes")


def _failure(asset: Asset, path: Path, reason: object) -> UnavailableError:
    return UnavailableError(
        f"cannot fetch {asset.url} ({reason}). Download it elsewhere ({asset.size}, sha256 "
        f"{asset.sha256}) and put it at {path}, or into the folder that SSDD_BENCH_WEIGHTS names"
    )


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}. Choose another folder with XDG_CACHE_HOME"
    )


def unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Unpack members of a verified zip into a folder, all or none; do nothing if it is there.

    A name that ends in ``/`` stands for the members below it.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as source, TemporaryDirectory(dir=folder.parent) as temporary:
            for name in names:
                below = name if name.endswith("/") else "\0"
                members = [n for n in source.namelist() if n == name or n.startswith(below)]
                if not members:
                    raise WeightsError(f"{archive} has no '{name}'. Download it again")
                source.extractall(Path(temporary) / "all", members)
            (Path(temporary) / "all").rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise WeightsError(f"{archive} is damaged ({error}). Download it again") from error
    except OSError as error:
        if folder.is_dir():  # another process unpacked it meanwhile
            return
        raise _unwritable(folder, error) from error
