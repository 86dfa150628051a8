"""Save and load records as JSON files of the present schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssdd_bench.errors import FileContentError, OutputError, UserError
from ssdd_bench.results.files import write_json
from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.results.schema import (
    GENERATED_VERSION,
    SCHEMA_VERSION,
    GeneratedRecord,
    Result,
)


def from_json(data: Any, source: Path | str) -> Result:
    """Rebuild a result from a parsed file.

    Raises:
        UserError: it has another schema version, or a key is unknown, missing or of the wrong
            type; names ``source``.
    """
    _check_version(data, SCHEMA_VERSION, source)
    return read_record(Result, data, str(source))


def load_saved(path: Path, identity: str) -> Result | None:
    """Return the result of an earlier run; None if there is none of this fingerprint to be read."""
    try:
        result = from_json(read_json(path), path)
    except UserError:
        return None
    return result if result.fingerprint == identity else None


def read_generated(folder: Path) -> GeneratedRecord | None:
    """Read the record of a folder of samples; None if it is not finished.

    Raises:
        UserError: it is damaged or of another schema version.
    """
    path = folder / "generated.json"
    if not path.is_file():
        return None
    data = read_json(path)
    _check_version(data, GENERATED_VERSION, path)
    return read_record(GeneratedRecord, data, str(path))


def result_path(
    folder: Path, label: str, resolution: int, protocol_id: str, fingerprint: str
) -> Path:
    """Name a job's file so that any label is safe and equal fingerprints meet in one file."""
    name = f"{slug(label)}_{resolution}_{slug(protocol_id)}_{slug(fingerprint)[:10]}.json"
    return Path(folder) / name


def path_of(result: Result, folder: Path) -> Path:
    """Return the file that a result is saved in."""
    place = (result.tokenizer.label, result.resolution, str(result.protocol["id"]))
    return result_path(folder, *place, result.fingerprint)


def save_result(result: Result, folder: Path) -> Path:
    """Write a result atomically to its file, see :func:`path_of`, in place of an older one.

    Raises:
        OutputError: the folder cannot be written, or a number is NaN or infinite.
    """
    plain = asdict(result)
    if key := _find_non_finite(plain):
        raise OutputError(
            f"result of '{result.tokenizer.label}' at {result.resolution} px holds a NaN or "
            f"infinite number at '{key}': nothing was written; an infinite score is stored as "
            "null with its 'infinite' count"
        )
    path = path_of(result, folder)
    write_json(path, plain)
    return path


def find_results(paths: Iterable[Path | str]) -> list[Path]:
    """List result files, given themselves or by folder (``*.json``), each once.

    Where a folder holds none itself, those one level below count; ``published`` holds no results.

    Returns:
        The files in the order of their names.

    Raises:
        UserError: a path is missing, or a folder holds no result.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: no such result file or folder")
        found = list(path.glob("[!.]*.json")) if path.is_dir() else [path]
        below = (one for one in path.glob("*/[!.]*.json") if one.parent.name != "published")
        found = found or list(below)
        if not found:
            raise UserError(f"{path}: no result files (*.json) in this folder")
        files += found
    unique = {file.resolve(): file for file in sorted(files, key=str)}
    return sorted(unique.values(), key=lambda file: (file.name, str(file)))


def load_results(paths: Iterable[Path | str]) -> list[Result]:
    """Read result files and folders of them, see :func:`find_results`.

    Raises:
        UserError: a path is missing, a folder holds no result, or a file is damaged.
    """
    return [from_json(read_json(file), file) for file in find_results(paths)]


def _check_version(data: Any, readable: int, source: Path | str) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is not int:
        raise UserError(f"{source}: not a result file (no integer key 'schema_version')")
    if version != readable:
        advice = "update ssdd-bench" if version > readable else "repeat the command that wrote it"
        problem = f"key 'schema_version' is {version}, expected {readable}"
        raise FileContentError(source, problem, advice)


def slug(text: str) -> str:
    """Keep letters, digits and dots of a label: safe as a file name on every system."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80] or "unnamed"


def _find_non_finite(data: Any, where: str = "") -> str:
    """Return the dotted key of the first NaN or infinite number, or an empty string."""
    if isinstance(data, float) and not math.isfinite(data):
        return where
    children: Iterable[tuple[Any, Any]] = data.items() if isinstance(data, dict) else ()
    if isinstance(data, list | tuple):
        children = enumerate(data)
    found = (_find_non_finite(one, f"{where}.{key}".lstrip(".")) for key, one in children)
    return next(filter(None, found), "")
