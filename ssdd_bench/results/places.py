"""Names of result files, and their places in a repository of results.

A place is ``results/MODEL/REVISION/PROTOCOL/FILE.json``. MODEL is the tokenizer's id, REVISION a
hash of its weights and adapter, PROTOCOL the protocol's id with the beginning of its hash, and FILE
the name that a run gives to the result. Scores of single images lie in ``scores/`` beside it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import Result

RESULTS: Final = "results"
REPORT: Final = "report.json"
"""Name of the document of all rows, in a report and at the root of a repository of results."""

OWN_NAME: Final = re.compile(r"[A-Za-z0-9.-]+_\d+_[A-Za-z0-9.-]+_[0-9a-f]{10}\.json")
"""Names that :func:`result_path` gives."""

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
RESULT_FILE: Final = re.compile(rf"{RESULTS}/{_PART}/[0-9a-f]{{12}}/{_PART}/{_NAME}\.json")
"""Paths of result files: neither a folder above nor a hidden file matches."""
SCORES_FILE: Final = re.compile(
    rf"{RESULTS}/{_PART}/[0-9a-f]{{12}}/{_PART}/scores/{_NAME}\.parquet"
)
"""Paths of the scores of single images."""


def slug(text: str) -> str:
    """Keep letters, digits and dots of a label: safe as a file name on every system."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80] or "unnamed"


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


def revision_of(result: Result) -> str:
    """Hash what was measured: the bytes of all weights and the adapter's version.

    Returns:
        12 hexadecimal digits.
    """
    made = result.generation.weights if result.generation else {}
    tokenizer = result.tokenizer
    weights = [sorted(tokenizer.weights.values()), sorted(made.values())]
    return fingerprint([tokenizer.version, *weights])[:12]


def place_of(result: Result) -> PurePosixPath:
    """Return the path of a result file in a repository."""
    protocol = f"{slug(str(result.protocol.get('id')))}-{str(result.protocol.get('sha256'))[:8]}"
    folder = PurePosixPath(RESULTS, slug(result.tokenizer.id), revision_of(result), slug(protocol))
    return folder / path_of(result, Path()).name


def results_in(folder: Path) -> list[Path]:
    """List the result files of a folder; they may be none. A report in it is none."""
    return sorted(path for path in folder.glob("[!.]*.json") if path.name != REPORT)


def scores_place(place: PurePosixPath) -> PurePosixPath:
    """Return the path of the scores of single images that belong to a result file."""
    return place.parent / "scores" / f"{place.stem}.parquet"


def repository_files(folder: Path) -> list[Path]:
    """List the files of a repository that are at a place of a result; none of another folder."""
    found = (folder / RESULTS).glob("*/*/*/*.json")
    return [path for path in found if RESULT_FILE.fullmatch(path.relative_to(folder).as_posix())]
