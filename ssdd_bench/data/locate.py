"""Find the files that a pattern, a list of paths or a URL stands for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ssdd_bench.data.files import RemoteFile, describe, file_system, is_hub
from ssdd_bench.data.named import expand_names, some_of
from ssdd_bench.errors import DataError, counted
from ssdd_bench.results.files import LOCK_PREFIX

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_URL_IN_PATH: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
exists: Final = os.path.exists  # a Path fails on a name that no file can have
_SPECIAL: Final = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class Found:
    """Files of one set.

    Attributes:
        name: of the set: that of the folder which they lie below.
        files: by their posix path below it, which is all that is kept of a local file.
        kind: they are one file, several of which each was asked for, or all files of a folder.
        base: the folder, if it is a local one.
    """

    name: str
    files: Mapping[str, str | RemoteFile]
    kind: Literal["one", "several", "folder"]
    base: Path = Path()

    @classmethod
    def in_folder(cls, name: str, folder: Path) -> Found:
        """Find all files of a local folder."""
        files = walk(folder)
        return cls(name, dict(zip(files, files, strict=True)), "folder", folder)

    def whole(self, name: str) -> Path | RemoteFile:
        """Return a file with its whole path."""
        file = self.files[name]
        return self.base / file if isinstance(file, str) else file


def as_text(path: Path | str) -> str:
    """Return a path as text; a URL that was made a path, which takes a slash away, is one again."""
    return path if isinstance(path, str) else _URL_IN_PATH.sub(r"\1://", str(path), count=1)


def is_url(text: str) -> bool:
    """Return True for ``hf://...``, ``s3://...`` and other URLs."""
    return _URL.match(text) is not None


def is_pattern(text: str) -> bool:
    """Return True if a path has braces, stars, question marks or brackets."""
    return _SPECIAL.search(text) is not None


def walk(folder: Path) -> list[str]:
    """List visible files by relative posix path, but no results of runs; follow links, no loop."""
    files: list[str] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen or (Path(root) != folder and _is_ours(names)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(root).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        files += [prefix + name for name in names if not name.startswith(".")]
    return files


def _is_ours(names: Iterable[str]) -> bool:
    """Return True for a folder of results: its sample pictures are no data."""
    return any(name.startswith(LOCK_PREFIX) for name in names)


def find_listed(paths: Sequence[str | Path]) -> Found:
    """Find each of several paths; the set is named after the folder that all lie below.

    Raises:
        DataError: one is missing.
    """
    if urls := [text for text in map(as_text, paths) if is_url(text)]:
        raise DataError(f"{urls[0]} is in a list: give one URL, with a pattern for several files")
    absolute = [Path(path).expanduser().absolute() for path in paths]
    base = os.path.commonpath([path.parent for path in absolute])
    names = [os.path.relpath(path, base) for path in absolute]
    files = _find_below(Path(base), names, f"list of {counted(len(paths), 'file')}")
    return Found(_name(base), files, "several", Path(base))


def find_pattern(pattern: str) -> Found:
    """Find the files of a pattern such as ``shards/{00..99}.tar`` or ``data/val-*.parquet``.

    The set is named after the last folder before the first special character, and paths are those
    below it, as if the folder had been given. A folder that matches stands for the files in it.

    Raises:
        DataError: a name that the braces give is missing, or nothing matches.
    """
    folder, rest = _split(pattern)
    base = Path(folder).expanduser().resolve()
    files = _find_below(base, expand_names(rest), pattern)
    return Found(_name(str(base)), files, "several", base)


def find_url(url: str) -> Found:
    """Find the file, the folder or the files of a pattern that a URL stands for.

    Of a repository on the Hugging Face Hub the present commit is read, even if another one follows.

    Raises:
        DataError: nothing is there, the server cannot be reached or the scheme is unknown.
    """
    folder, rest = _split(url)
    system, base = file_system(folder or url)
    try:
        name, base = _pin(system, base.rstrip("/"))
        if rest:
            return Found(name, _find_remote(system, base, expand_names(rest), url), "several")
        info = system.info(base)
        if info["type"] == "directory":
            return Found(name, _files(system, base, system.find(base, detail=True)), "folder")
        file = RemoteFile.of(system, info)
    except DataError:
        raise
    except Exception as error:  # Each file system has its own.
        raise DataError(f"cannot open {url}: {describe(error)}") from error
    return Found(Path(base).stem, {Path(base).name: file}, "one")


def _split(pattern: str) -> tuple[str, str]:
    """Split into the folder before the first special character, and the rest."""
    special = _SPECIAL.search(pattern)
    if special is None:
        return pattern, ""
    start = pattern.rfind("/", 0, special.start()) + 1
    return pattern[:start], pattern[start:]


def _name(folder: str) -> str:
    return Path(folder).name or "data"


def _find_below(base: Path, names: Iterable[str], what: str) -> dict[str, str]:
    files: dict[str, str] = {}
    missing = []
    for name in names:
        matches = [name]
        if not exists(base / name):  # Unlike pathlib's, this glob leaves hidden files out.
            special = glob.has_magic(name)
            matches = glob.glob(name, root_dir=base, recursive=True) if special else []  # noqa: PTH207
        if not matches:
            missing.append(name)
        for match in sorted(matches):
            path = base / match
            below = walk(path) if path.is_dir() else [""]
            found = [Path(match, one).as_posix() for one in below]
            files |= zip(found, found, strict=True)
    _check_found(files, missing, f"{base}{os.sep}", what)
    return files


def _find_remote(system: Any, base: str, names: Sequence[str], what: str) -> dict[str, RemoteFile]:
    entries: dict[str, Any] = {}
    missing = []
    for name in names:
        path = f"{base}/{name}"
        if glob.has_magic(name):
            matches = dict(system.glob(path, detail=True) or {})
        else:
            try:
                matches = {path: system.info(path)}
            except FileNotFoundError:
                matches = {}
        if not matches:
            missing.append(name)
        for match, info in matches.items():
            folder = info["type"] == "directory"
            entries |= system.find(match, detail=True) if folder else {match: info}
    files = _files(system, base, entries)
    _check_found(files, missing, f"{base}/", what)
    return files


def _files(system: Any, base: str, entries: Mapping[str, Any]) -> dict[str, RemoteFile]:
    """Describe the visible files among the entries of a listing."""
    below = {path[len(base) :].lstrip("/"): info for path, info in entries.items()}
    return {
        name: RemoteFile.of(system, info)
        for name, info in below.items()
        if not any(part.startswith(".") for part in name.split("/"))
    }


def _check_found(files: Mapping[str, Any], missing: Sequence[str], base: str, what: str) -> None:
    if missing:
        count = some_of([base + name for name in missing], "missing")
        raise DataError(f"{what}: {count}: complete the set, or give the files that are there")
    if not files:
        raise DataError(f"{what}: no file matches")


def _pin(system: Any, path: str) -> tuple[str, str]:
    """Return the name of a set, and its path with the commit if it is in a repository."""
    if not is_hub(system):
        return _name(path), path
    from huggingface_hub import HfApi
    from huggingface_hub.constants import REPO_TYPES_URL_PREFIXES

    place = system.resolve_path(path)
    kind = getattr(place, "repo_type", None)
    if kind is None:  # a bucket, which has no commits
        return _name(path), path
    api = HfApi(endpoint=system.endpoint, token=system.token)
    commit = api.repo_info(place.repo_id, repo_type=kind, revision=place.revision).sha
    root = f"{REPO_TYPES_URL_PREFIXES.get(kind, '')}{place.repo_id}@{commit}"
    return _name(place.repo_id), f"{root}/{place.path_in_repo}".rstrip("/")
