"""Pull results of others: each is checked, and only those that compare with ours come in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ssdd_bench.hub.findings import Finding, Problem
from ssdd_bench.hub.remote import copy_snapshot, open_snapshot
from ssdd_bench.hub.validate import Checked, check_repository
from ssdd_bench.protocols.standing import MEANINGS, Standing, former_version, standing_of
from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.places import RESULT_FILE, RESULTS, SCORES_FILE, path_of, scores_place
from ssdd_bench.results.schema import Result

Others = Literal["refuse", "apart"]
"""Treatment of results that do not compare: left out, or written to a folder of their own."""
APART: Final = "others"


class Outcome(StrEnum):
    """Treatment of one file of the repository."""

    WRITTEN = "written"
    SAME = "same"
    APART = "apart"
    YOURS_KEPT = "yours-kept"
    REFUSED = "refused"


@dataclass(frozen=True)
class PulledFile:
    """One file of the repository.

    Attributes:
        file: path in the repository.
        outcome: what became of it.
        reason: value of :class:`Standing` or of :class:`Problem`; "current" if nothing is wrong.
        text: the reason in words.
        path: where it was written or is; None if it was refused.
    """

    file: str
    outcome: Outcome
    reason: Standing | Problem
    text: str
    path: Path | None = None


def pull(
    repo: str | Path, out: Path, others: Others = "refuse", scores: bool = False, revision: str = ""
) -> list[PulledFile]:
    """Download the results of a repository into a folder, which ``ssdd-bench report`` reads.

    A file is written only after every check of :func:`ssdd_bench.hub.validate.check_repository`,
    under a name made from its content. A file of yours is never replaced.

    Args:
        repo: id of a data set repository, such as ``someone/results``, or a folder.
        out: folder of results.
        others: ``apart`` writes results of another protocol hash or version of the numbers to
            ``OUT/others/STANDING/``, where they do not mix with those that compare.
        scores: True takes the scores of single images along.
        revision: branch, tag or commit; "" for main.

    Returns:
        What became of each file, in the order of their paths.

    Raises:
        HubError: the network is forbidden or fails, or there is no such repository or folder.
        OutputError: the folder cannot be written.
    """

    def wanted(name: str) -> bool:
        return bool(RESULT_FILE.fullmatch(name) or (scores and SCORES_FILE.fullmatch(name)))

    snapshot = open_snapshot(repo, wanted, revision)
    strays = [name for name in snapshot.refused if _is_stray(name)]
    where = f"not at {RESULTS}/MODEL/REVISION/PROTOCOL/FILE.json"
    pulled = [_refused(Finding(name, Problem.STRAY, where)) for name in strays]
    pulled += [_refused(one) for one in snapshot.too_large]
    with tempfile.TemporaryDirectory() as temporary:
        staging = Path(temporary)
        contents = copy_snapshot(snapshot, staging)
        checked = check_repository(staging) if contents else []
        for one in checked:
            if RESULT_FILE.fullmatch(one.name) or one.faults:
                pulled.append(_take(one, contents, out, others))
    return sorted(pulled, key=lambda one: one.file)


def _is_stray(name: str) -> bool:
    """Return True for a path among the results, or out of the repository, that has no place."""
    inside = PurePosixPath(name).parts[:1] == (RESULTS,)
    odd = name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name
    return (inside or odd) and not SCORES_FILE.fullmatch(name)


def _refused(found: Finding) -> PulledFile:
    return PulledFile(found.file, Outcome.REFUSED, found.problem, found.text)


def _take(one: Checked, contents: Mapping[str, bytes], out: Path, others: Others) -> PulledFile:
    """Write one result if it passed its checks and compares."""
    if one.result is None or one.faults:
        return _refused(one.faults[0])
    standing = standing_of(one.result)
    text = former_version(one.result) or MEANINGS[standing]
    if standing is Standing.CURRENT:
        folder, outcome = out, Outcome.WRITTEN
    elif others == "apart":
        folder, outcome = out / APART / standing.value, Outcome.APART
    else:
        return PulledFile(one.name, Outcome.REFUSED, standing, text)
    target = path_of(one.result, folder)
    data = contents[one.name]
    if target.exists():
        same = target.read_bytes() == data
        kept = Outcome.SAME if same else Outcome.YOURS_KEPT
        return PulledFile(one.name, kept, standing, text, target)
    for file, content in _scores(one.result, one.name, contents, folder):
        write_bytes(file, content)
    write_bytes(target, data)
    return PulledFile(one.name, outcome, standing, text, target)


def _scores(
    result: Result, name: str, contents: Mapping[str, bytes], folder: Path
) -> Iterator[tuple[Path, bytes]]:
    """Yield the scores of single images of a result, if they are there and fit it."""
    data = contents.get(scores_place(PurePosixPath(name)).as_posix())
    if data is not None and result.scores and scores_fit(data, result):
        yield folder / result.scores, data


def scores_fit(data: bytes, result: Result) -> bool:
    """Return True if a Parquet file holds the scores of a result's images: ids and numbers."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError):
        return False
    known = pa.schema({"id": pa.string(), **dict.fromkeys(schema.names[1:], pa.float64())})
    columns = set(schema.names[1:]) <= result.metrics.keys()
    return schema.equals(known) and columns and rows <= result.data.n
