"""Download external weights: resumable, verified, and bounded in time."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from http.client import HTTPException, HTTPMessage
from pathlib import Path, PurePosixPath

from ssdd_bench.errors import OutputError, UnavailableError, WeightsError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.weights.assets import Asset, get_asset
from ssdd_bench.weights.cache import cache_folder, find, mismatch, verify

TIMEOUT_S = 20.0  # to connect, and between two pieces of the answer
ATTEMPTS = 3
PIECE = 1 << 20

Progress = Callable[[int, int], None]


def is_offline() -> bool:
    """Whether ``$SSDD_BENCH_OFFLINE`` forbids the network."""
    return os.environ.get("SSDD_BENCH_OFFLINE", "") not in ("", "0")


def fetch(name: str, progress: Progress = lambda done, total: None) -> Path:
    """Give the path of a verified file, downloaded into our cache unless it is somewhere here.

    A download that broke off goes on where it was, from ``FILE.part``.

    Args:
        name: in the table.
        progress: told the bytes that are here and their number in all (0: not known).

    Raises:
        UnavailableError: the network is forbidden or fails.
        WeightsError: the file is not what was published; what was downloaded is deleted.
        OutputError: the cache cannot be written or is too full.
    """
    path = find(name)
    if path is None:
        asset = get_asset(name)
        path = cache_folder() / "weights" / asset.file
        if is_offline():
            raise _failure(asset, path, "SSDD_BENCH_OFFLINE is set")
        part = path.with_name(path.name + ".part")
        _make_room(asset, part)
        _download(asset, path, part, progress)
        if reason := mismatch(name, part):
            part.unlink()
            raise WeightsError(
                f"{asset.url} sent a file that {reason}: it was deleted; try again, or put the "
                f"published file at {path}"
            )
        part.replace(path)
    verify(name, path)
    return path


def _make_room(asset: Asset, part: Path) -> None:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(part.parent).free
    except OSError as error:
        raise OutputError(
            f"cannot write {part.parent}: {error.strerror}; choose another with XDG_CACHE_HOME"
        ) from error
    if asset.bytes - _size(part) > free:
        raise OutputError(
            f"{asset.file} has {asset.size} and {part.parent} has room for {free / 1e6:.0f} MB: "
            "choose another with XDG_CACHE_HOME"
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _download(asset: Asset, path: Path, part: Path, progress: Progress) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue(asset, part, progress)
            return
        except (OSError, HTTPException) as error:
            reason: object = error
            useless = attempt == ATTEMPTS
            if isinstance(error, urllib.error.HTTPError):
                reason = f"HTTP {error.code}"
                error.close()
                if error.code == 416:  # our part is as long as the file, or longer
                    part.unlink(missing_ok=True)
                useless |= error.code < 500 and error.code != 416
            elif isinstance(error, urllib.error.URLError):
                reason = error.reason
            if useless:
                raise _failure(asset, path, reason) from error


def _continue(asset: Asset, part: Path, progress: Progress) -> None:
    start = _size(part)
    if asset.bytes and start >= asset.bytes:  # whole, or wrong, which its checksum tells
        return
    request = urllib.request.Request(asset.url, headers={"User-Agent": "ssdd-bench"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        if answer.status != 206:  # the whole file, whatever we asked for
            start = 0
        total = _total(answer.headers, start) or asset.bytes
        done = start
        progress(done, total)
        with part.open("ab" if start else "wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                done += len(piece)
                progress(done, total)
    if done < total:
        raise ConnectionError(f"the connection broke off after {done} of {total} bytes")


def _total(headers: HTTPMessage, start: int) -> int:
    """Bytes of the whole file; 0 where the server does not say."""
    rest = headers.get("Content-Length", "")
    return start + int(rest) if rest.isdigit() else 0


def _failure(asset: Asset, path: Path, reason: object) -> UnavailableError:
    checksum = f", sha256 {asset.sha256}" if asset.sha256 else ""
    return UnavailableError(
        f"cannot fetch {asset.url} ({reason}): download it elsewhere ({asset.size}{checksum}) and "
        f"put it at {path}, or into the folder that SSDD_BENCH_WEIGHTS names"
    )


def unpack(archive: Path, names: Iterable[str], folder: Path) -> None:
    """Unpack the named members of a zip, and nothing else, into a folder.

    Files that are there with the right size stay.

    Args:
        archive: a verified file.
        names: of members, with ``/``; a name that ends in ``/`` stands for the files in it.
        folder: created where missing.

    Raises:
        WeightsError: a member is missing, would land elsewhere, or the archive is damaged.
        OutputError: the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            for name in names:
                found = [one for one in source.infolist() if _is_wanted(one, name)]
                if not found:
                    raise WeightsError(f"{archive} has no '{name}': fetch it again")
                for one in found:
                    if ".." in PurePosixPath(one.filename).parts or "\\" in one.filename:
                        raise WeightsError(
                            f"{archive}: '{one.filename}' is not a plain name: fetch it again"
                        )
                    path = folder / one.filename
                    if not path.exists() or path.stat().st_size != one.file_size:
                        write_atomically(path, partial(_copy, source, one))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise WeightsError(
            f"{archive} is damaged ({error}): delete it and fetch it again"
        ) from error


def _is_wanted(member: zipfile.ZipInfo, name: str) -> bool:
    if not name.endswith("/"):
        return member.filename == name
    return member.filename.startswith(name) and not member.is_dir()


def _copy(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with source.open(member) as reader, target.open("wb") as writer:
        while piece := reader.read(PIECE):
            writer.write(piece)
