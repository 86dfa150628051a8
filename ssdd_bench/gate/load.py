"""Read the results of a side of the gate: files, folders, or a revision of the repository."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import Scores
from ssdd_bench.report.loading import read_scores
from ssdd_bench.results.places import scores_place
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, load_result

DEFAULT_PATH = "results"


class Key(NamedTuple):
    """A job, by which results of the two sides are matched."""

    label: str
    resolution: int
    protocol: str
    seed: int

    def __str__(self) -> str:
        return f"{self.label}, {self.resolution} px, {self.protocol}, seed {self.seed}"


@dataclass(frozen=True)
class ScoredResult:
    """A result and the scores of its single images."""

    result: Result
    scores: Scores

    @property
    def images(self) -> tuple[str, str]:
        """Return what tells one set of images from another."""
        return self.result.data.ids_sha256, self.result.data.pixels_sha256

    @property
    def key(self) -> Key:
        """Return its job."""
        one = self.result
        return Key(one.tokenizer.label, one.resolution, str(one.protocol["id"]), one.seed)


def load_side(where: str, write: str = "") -> list[ScoredResult]:
    """Read a result file, a folder of them, ``git:REV`` or ``git:REV:PATH``.

    Args:
        where: the side.
        write: command that makes it, for the error where it is not there yet.

    Raises:
        UserError: there are no results, or a file is damaged.
    """
    if where.startswith("git:"):
        revision, _, path = where.removeprefix("git:").partition(":")
        path = path or DEFAULT_PATH
        with tempfile.TemporaryDirectory(prefix="ssdd-bench-") as name:
            _extract(revision, path, Path(name))
            return read_side([Path(name) / path])
    local = Path(where)
    if write and not local.is_file() and not any(local.glob("**/*.json")):
        raise UserError(f"{where}: no results to compare. Write them: {write}")
    return read_side([local])


def read_side(paths: Sequence[Path]) -> list[ScoredResult]:
    """Read result files and folders of them."""
    files = find_results(paths)
    results = list(map(load_result, files))
    return list(map(ScoredResult, results, read_scores(files, results)))


def replace_results(folder: Path, new: Path) -> None:
    """Copy results into a folder, in place of those of the same jobs and data sets.

    Args:
        folder: of older results; made if it is not there.
        new: folder of results.
    """

    def name_of_job(path: Path) -> str:
        return path.stem.rpartition("_")[0]

    files = find_results([new])
    made = {(one.key, one.result.data.name) for one in read_side(files)}
    names = set(map(name_of_job, files))
    for path in folder.glob("*.json"):
        if name_of_job(path) in names:
            with suppress(UserError):  # One of a former format can only be replaced.
                old = load_result(path)
                if (ScoredResult(old, {}).key, old.data.name) not in made:
                    continue
            (folder / scores_place(PurePosixPath(path.name))).unlink(missing_ok=True)
            path.unlink()
    shutil.copytree(new, folder, dirs_exist_ok=True)


def _extract(revision: str, path: str, folder: Path) -> None:
    command = ["git", "archive", "--format=zip", revision, "--", path]
    if revision.startswith("-"):
        raise UserError(f"'{revision}' is no revision. Give a branch, a tag or a commit.")
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise UserError("git: needs git on this machine") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"git:{revision}:{path}: {' '.join(reason)}") from error
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder)
