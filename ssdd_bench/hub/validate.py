"""Check result files, alone or in a repository of results, and name every problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from ssdd_bench.errors import FileContentError, UserError
from ssdd_bench.hub.contents import content_findings
from ssdd_bench.hub.findings import INCOMPARABLE, Finding, Problem
from ssdd_bench.results.places import (
    RESULT_FILE,
    RESULTS,
    SCORES_FILE,
    place_of,
    repository_files,
    scores_place,
)
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, from_json

MAX_BYTES: Final = 1 << 20
"""Largest result file or card; a larger one is neither downloaded nor read."""
MAX_SCORES_BYTES: Final = 64 << 20
"""Largest file of scores of single images; likewise."""


@dataclass(frozen=True)
class Checked:
    """A file that was read, and what was found.

    Attributes:
        path: of the file.
        name: path in messages.
        result: its content; None if it cannot be read.
        findings: its problems, and notes.
    """

    path: Path
    name: str
    result: Result | None
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that refuse the file: all but notes."""
        return tuple(one for one in self.findings if not one.is_note)

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Findings that are more than another protocol, which a standing tells too."""
        return tuple(one for one in self.findings if one.problem not in INCOMPARABLE)


def limit_of(name: str) -> int:
    """Return the largest size in bytes of a file of a repository, by its path."""
    return MAX_SCORES_BYTES if name.endswith(".parquet") else MAX_BYTES


def check_file(path: Path, name: str = "", links: bool = False) -> Checked:
    """Check one result file by itself.

    Args:
        path: of the file.
        name: path in messages; by default ``path``.
        links: True follows a link; otherwise it is a problem.

    Returns:
        The result, and the problems of schema, protocol, checksums and values.
    """
    name = name or str(path)

    def failed(problem: Problem, text: str) -> Checked:
        return Checked(path, name, None, (Finding(name, problem, text),))

    if path.is_symlink() and not links:
        return failed(Problem.NO_FILE, "a link")
    if not path.is_file():
        return failed(Problem.NO_FILE, "no regular file" if path.exists() else "no such file")
    if path.stat().st_size > MAX_BYTES:
        return failed(Problem.UNREADABLE, f"{path.stat().st_size} bytes, more than {MAX_BYTES}")
    try:
        data = read_json(path)
    except UserError as error:
        return failed(Problem.UNREADABLE, _reason(error, path))
    try:
        result = from_json(data, path)
        found = [Finding(name, problem, text) for problem, text in content_findings(result)]
    except UserError as error:
        return failed(Problem.SCHEMA, _reason(error, path))
    except OverflowError:
        return failed(Problem.SCHEMA, "a number is too large")
    return Checked(path, name, result, tuple(found))


def check_paths(paths: Iterable[Path]) -> list[Checked]:
    """Check result files, folders of them, and repositories of results.

    Args:
        paths: a folder with a folder ``results`` is a repository; see
            :func:`ssdd_bench.results.store.find_results` for the others.

    Raises:
        UserError: a folder has no result files.
    """
    checked, files = list[Checked](), list[Path]()
    for path in paths:
        if (path / RESULTS).is_dir():
            checked += check_repository(path)
        else:
            files += find_results([path]) if path.is_dir() else [path]
    return check_files(files) + checked


def check_files(paths: Iterable[Path]) -> list[Checked]:
    """Check result files, and that none occurs twice; see :func:`check_file`."""
    return _mark_duplicates([check_file(path) for path in paths])


def check_repository(folder: Path, links: bool = False) -> list[Checked]:
    """Check a repository of results: every file in ``results/`` and its place.

    Files elsewhere, such as README.md, are free. Pictures are not needed and are stray files.

    Args:
        folder: root of the repository.
        links: True follows links, of which huggingface_hub makes its snapshots.

    Raises:
        UserError: it has no folder ``results``.
    """
    root = folder / RESULTS
    if not root.is_dir():
        raise UserError(
            f"{folder}: no folder '{RESULTS}' in it: give the root of a repository of results, "
            "or result files"
        )
    names = sorted(
        (path.relative_to(folder).as_posix(), path)
        for path in root.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )
    checked = [
        _check_place(check_file(path, name, links))
        if RESULT_FILE.fullmatch(name)
        else Checked(path, name, None, tuple(_stray(path, name, folder, links)))
        for name, path in names
    ]
    return _mark_duplicates(checked)


def sound_files(paths: Iterable[Path]) -> tuple[list[Path], list[Finding]]:
    """Find result files for a report, and leave out those of a repository that have faults.

    Args:
        paths: see :func:`ssdd_bench.results.store.find_results`.

    Returns:
        The files, and what is wrong with those of repositories that are left out.
    """
    files, left_out = list[Path](), list[Finding]()
    for path in paths:
        if not repository_files(path):
            files.append(path)
            continue
        checked = check_repository(path, links=True)
        files += [one.path for one in checked if one.result is not None and not one.faults]
        left_out += [found for one in checked for found in one.faults]
    return find_results(files), left_out


def _check_place(one: Checked) -> Checked:
    """Add a finding if a result file is not where its content belongs."""
    if one.result is None or (place := place_of(one.result).as_posix()) == one.name:
        return one
    found = Finding(one.name, Problem.PLACE, f"its content belongs to {place}")
    return replace(one, findings=(*one.findings, found))


def _stray(path: Path, name: str, folder: Path, links: bool) -> Iterator[Finding]:
    """Yield a finding unless the file holds the scores of a result that is there."""
    place = PurePosixPath(name)
    result = place.parent.parent / f"{place.stem}.json"
    if SCORES_FILE.fullmatch(name) and (links or not path.is_symlink()):
        if not (folder / result).is_file():
            yield Finding(name, Problem.STRAY, f"scores of {result}, which is not here")
        return
    yield Finding(name, Problem.STRAY, f"not at {RESULTS}/MODEL/REVISION/PROTOCOL/FILE.json")


def _mark_duplicates(checked: list[Checked]) -> list[Checked]:
    """Add a finding to each file that repeats the fingerprint of an earlier one."""
    first: dict[str, str] = {}
    marked = []
    for one in checked:
        if one.result is not None:
            before = first.setdefault(one.result.fingerprint, one.name)
            if before != one.name:
                text = f"the job of {before}, with the same fingerprint"
                found = Finding(one.name, Problem.DUPLICATE, text)
                one = replace(one, findings=(*one.findings, found))
        marked.append(one)
    return marked


def scores_of(one: Checked) -> Path | None:
    """Return the scores of single images beside a result file, where the record names them."""
    if one.result is None or not one.result.scores:
        return None
    beside = one.path.parent / scores_place(PurePosixPath(one.path.name))
    return beside if beside.is_file() else None


def _reason(error: UserError, path: Path) -> str:
    """Return what is wrong, without the name and the advice, which a finding has already."""
    if isinstance(error, FileContentError):
        return error.problem
    return str(error).removeprefix(f"{path}: ")
