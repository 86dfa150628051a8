"""Save and load records as JSON files of the present schema."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssdd_bench.errors import FileContentError, OutputError, UserError
from ssdd_bench.results.files import write_json
from ssdd_bench.results.places import path_of, repository_files, results_in
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
    """Return the result of an earlier run; None if there is none that can be read.

    Args:
        path: see :func:`ssdd_bench.results.places.result_path`.
        identity: fingerprint of the job.

    Raises:
        OutputError: the file holds another job, whose fingerprint begins alike.
    """
    try:
        result = load_result(path)
    except UserError:
        return None
    if result.fingerprint != identity:
        raise OutputError(
            f"{path}: holds another job, whose fingerprint begins alike: choose another folder"
        )
    return result


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


def save_result(result: Result, folder: Path) -> Path:
    """Write a result atomically to its file, in place of an older one of the same job.

    Returns:
        The file, see :func:`ssdd_bench.results.places.path_of`.

    Raises:
        OutputError: the folder cannot be written, a number is NaN or infinite, or see
            :func:`load_saved`.
    """
    plain = asdict(result)
    if key := _find_non_finite(plain):
        raise OutputError(
            f"result of '{result.tokenizer.label}' at {result.resolution} px holds a NaN or "
            f"infinite number at '{key}': nothing was written; an infinite score is stored as "
            "null with its 'infinite' count"
        )
    path = path_of(result, folder)
    load_saved(path, result.fingerprint)
    write_json(path, plain)
    return path


def find_results(paths: Iterable[Path | str]) -> list[Path]:
    """List result files, given themselves or by folder, each once.

    Every ``*.json`` of a folder counts but ``report.json``, which a report writes.

    Of a repository of results, those in their places count, see
    :func:`ssdd_bench.results.places.repository_files`. Where another folder holds none itself,
    those one level below count; ``published`` holds no results.

    Returns:
        The files in the order of their names.

    Raises:
        UserError: a path is missing, or a folder holds no result.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: no such result file or folder")
        found = (repository_files(path) or results_in(path)) if path.is_dir() else [path]
        below = (one for one in path.glob("*/") if one.name != "published")
        found = found or [file for one in below for file in results_in(one)]
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
    return [load_result(file) for file in find_results(paths)]


def load_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        UserError: it is missing or damaged.
    """
    return from_json(read_json(path), path)


def _check_version(data: Any, readable: int, source: Path | str) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is not int:
        problem = "not a result file (no integer key 'schema_version')"
        raise FileContentError(source, problem, "move it to another folder")
    if version != readable:
        advice = "update ssdd-bench" if version > readable else "repeat the command that wrote it"
        problem = f"key 'schema_version' is {version}, expected {readable}"
        raise FileContentError(source, problem, advice)


def _find_non_finite(data: Any, where: str = "") -> str:
    """Return the dotted key of the first NaN or infinite number, or an empty string."""
    if isinstance(data, float) and not math.isfinite(data):
        return where
    children: Iterable[tuple[Any, Any]] = data.items() if isinstance(data, dict) else ()
    if isinstance(data, list | tuple):
        children = enumerate(data)
    found = (_find_non_finite(one, f"{where}.{key}".lstrip(".")) for key, one in children)
    return next(filter(None, found), "")
