"""Publish results: add them to a repository of results on the Hub, with its leaderboard."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssdd_bench.errors import UserError, counted
from ssdd_bench.hub.findings import Finding
from ssdd_bench.hub.remote import (
    commit_files,
    copy_snapshot,
    ensure_repository,
    fetch_snapshot,
)
from ssdd_bench.hub.validate import check_files, scores_of, sound_files
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.rows import to_json
from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.places import REPORT, RESULT_FILE, place_of, scores_place
from ssdd_bench.results.store import find_results

README: Final = "README.md"
CARD: Final = """---
tags:
- image-tokenizer
- ssdd-bench
viewer: false
---

# Results of image tokenizers

Measured with ssdd-bench. A result lies at `results/MODEL/REVISION/PROTOCOL/FILE.json`, and
`report.json` holds the rows of all. `ssdd-bench report .` makes the page of the leaderboard from
a clone, and `ssdd-bench validate .` checks a change. `ssdd-bench pull {repo}` brings the results
that compare with yours into a folder.
"""


class InvalidResultsError(UserError):
    """Results that have problems, and are not published.

    Attributes:
        findings: all problems.
    """

    exit_code = 1

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(
            f"{counted(len(findings), 'problem')}, nothing was published. First: {findings[0]}"
        )
        self.findings = findings


@dataclass(frozen=True)
class Published:
    """Outcome of a publication.

    Attributes:
        url: of the commit or the pull request; "" if everything was there already.
        added: paths of new result files in the repository.
        replaced: paths of those that had another content.
        unchanged: paths of those that were there.
        results: number of results in the repository's leaderboard.
        left_out: problems of files of the repository that are not in it.
    """

    url: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: tuple[str, ...]
    results: int
    left_out: tuple[Finding, ...]


def publish(
    paths: Iterable[Path | str], repo: str, private: bool = False, pull_request: bool = False
) -> Published:
    """Add result files to a data set repository, in one commit with the new leaderboard.

    The repository is created unless it exists. Scores of single images go along; pictures do not.

    Args:
        paths: result files and folders of them, see
            :func:`ssdd_bench.results.store.find_results`.
        repo: id such as ``someone/results``.
        private: of a new repository.
        pull_request: True opens a pull request.

    Raises:
        InvalidResultsError: a result has a problem.
        HubError: see :func:`ssdd_bench.hub.remote.commit_files`.
    """
    own = check_files(find_results(paths))
    if findings := tuple(found for one in own for found in one.problems):
        raise InvalidResultsError(findings)
    placed = {place_of(one.result): one for one in own if one.result is not None}
    files = {place.as_posix(): one.path.read_bytes() for place, one in placed.items()}
    ensure_repository(repo, "dataset", private)
    snapshot = fetch_snapshot(repo, RESULT_FILE.fullmatch)
    with tempfile.TemporaryDirectory() as temporary:
        staging = Path(temporary)
        before = copy_snapshot(snapshot, staging)
        changed = {name: data for name, data in files.items() if before.get(name) != data}
        for name, data in changed.items():
            write_bytes(staging / name, data, durable=False)
        sound, faulty = sound_files([staging])
        board = to_json(load_source(sound))
    there = before.keys() | snapshot.large.keys()
    added = tuple(name for name in files if name not in there)
    replaced = tuple(name for name in files if name in there and name in changed)
    unchanged = tuple(name for name in files if name not in changed)
    for place, one in placed.items():
        if place.as_posix() in changed and (scores := scores_of(one)):
            changed[scores_place(place).as_posix()] = scores.read_bytes()
    url = ""
    if changed:
        changed[REPORT] = board.encode()
        if README not in snapshot.refused:
            changed[README] = CARD.format(repo=repo).encode()
        message = f"Add {counted(len(added), 'result')}, replace {len(replaced)}"
        url = commit_files(repo, "dataset", changed, message, snapshot.commit, pull_request)
    left_out = [one for one in snapshot.too_large if one.file not in files]
    return Published(url, added, replaced, unchanged, len(sound), (*left_out, *faulty))
