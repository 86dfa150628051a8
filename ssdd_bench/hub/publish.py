"""Publish results: add them to a repository of results on the Hub, with its leaderboard."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ssdd_bench.errors import UserError
from ssdd_bench.hub.findings import Finding
from ssdd_bench.hub.gather import gather
from ssdd_bench.hub.layout import LEADERBOARD, RESULT_FILE, place_of, scores_place
from ssdd_bench.hub.remote import commit_files, ensure_repository, fetch_snapshot
from ssdd_bench.hub.staging import put, stage
from ssdd_bench.hub.validate import Checked, check_files, scores_of
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
`leaderboard.json` holds a row for each. Check a change with `ssdd-bench validate .`, and bring
the rows into a folder of yours with `ssdd-bench pull {repo}`.
"""


class InvalidResultsError(UserError):
    """Results that have problems, and are not published.

    Attributes:
        findings: all problems.
    """

    exit_code = 1

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(f"{len(findings)} problems, nothing was published. First: {findings[0]}")
        self.findings = findings


@dataclass(frozen=True)
class Published:
    """Outcome of a publication.

    Attributes:
        url: of the commit or the pull request; "" if everything was there already.
        added: paths of new result files in the repository.
        replaced: paths of those that had another content.
        unchanged: paths of those that were there.
        rows: number of rows of the leaderboard.
        left_out: problems of files of the repository that are no row.
    """

    url: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: tuple[str, ...]
    rows: int
    left_out: tuple[dict[str, Any], ...]


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
    ensure_repository(repo, "dataset", private)
    snapshot = fetch_snapshot(repo, RESULT_FILE.fullmatch)
    with tempfile.TemporaryDirectory() as temporary:
        staging = Path(temporary)
        before = stage(snapshot, staging)
        files = _placed(own)
        changed = {name: data for name, data in files.items() if before.get(name) != data}
        for name, data in changed.items():
            put(staging, name, data)
        board = gather(staging)
    changed |= _scores(own, changed)
    done = Published(
        url="",
        added=tuple(name for name in files if name not in before),
        replaced=tuple(name for name in files if name in before and name in changed),
        unchanged=tuple(name for name in files if name not in changed),
        rows=len(board["rows"]),
        left_out=tuple(board["left_out"]),
    )
    if not changed:
        return done
    changed[LEADERBOARD] = (json.dumps(board, indent=1, sort_keys=True) + "\n").encode()
    if README not in snapshot.refused:
        changed[README] = CARD.format(repo=repo).encode()
    message = f"Add {len(done.added)} results, replace {len(done.replaced)}"
    url = commit_files(repo, "dataset", changed, message, snapshot.commit, pull_request)
    return Published(**{**vars(done), "url": url})


def _placed(checked: Iterable[Checked]) -> dict[str, bytes]:
    """Return the content of each result file by its path in the repository."""
    return {
        place_of(one.result).as_posix(): one.path.read_bytes()
        for one in checked
        if one.result is not None
    }


def _scores(checked: Iterable[Checked], changed: dict[str, bytes]) -> dict[str, bytes]:
    """Return the scores of single images of the results that change."""
    found = {}
    for one in checked:
        if one.result is not None and (file := scores_of(one)):
            place = place_of(one.result)
            if place.as_posix() in changed:
                found[scores_place(place).as_posix()] = file.read_bytes()
    return found
