"""Read the results of a side of the gate: files, folders, or a revision of the repository."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssdd_bench.errors import UserError
from ssdd_bench.report.loading import read_scores
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, from_json

DEFAULT_PATH = "results"

Key = tuple[str, int, str, int]  # label, resolution, protocol, seed


@dataclass(frozen=True)
class ScoredResult:
    """A result and the scores of its single images, by metric and image id."""

    result: Result
    scores: Mapping[str, Mapping[str, float]]

    @property
    def key(self) -> Key:
        """Return the job, by which results of the two sides are matched."""
        result = self.result
        protocol = str(result.protocol["id"])
        return (result.tokenizer.label, result.resolution, protocol, result.seed)


def load_side(where: str) -> list[ScoredResult]:
    """Read a result file, a folder of them, ``git:REV`` or ``git:REV:PATH``."""
    if not where.startswith("git:"):
        return read_side([Path(where)])
    revision, _, path = where.removeprefix("git:").partition(":")
    with tempfile.TemporaryDirectory(prefix="ssdd-bench-") as name:
        _extract(revision, path or DEFAULT_PATH, Path(name))
        return read_side([Path(name) / (path or DEFAULT_PATH)])


def read_side(paths: Sequence[Path]) -> list[ScoredResult]:
    """Read result files and folders of them."""
    return [_read(file) for file in find_results(paths)]


def _read(file: Path) -> ScoredResult:
    result = from_json(read_json(file), file)
    columns = read_scores(file, result).items()
    return ScoredResult(result, {key: dict(zip(c.index, c, strict=True)) for key, c in columns})


def _extract(revision: str, path: str, folder: Path) -> None:
    command = ["git", "archive", "--format=tar", revision, "--", path]
    if revision.startswith("-"):
        raise UserError(f"'{revision}' is no revision. Give a branch, a tag or a commit.")
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise UserError("git: needs git on this machine") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"git:{revision}:{path}: {' '.join(reason)}") from error
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
