"""Input of a report, read once: results with the scores and pictures beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssdd_bench.report.frame import read_scores, to_frame
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, load_results


@dataclass(frozen=True)
class Source:
    """Result files and the files beside them.

    Attributes:
        frame: see :func:`ssdd_bench.report.frame.to_frame`.
        results: in the order of their files' names.
        pictures: references above reconstructions, by fingerprint of the results that have them.
        digest: sha256 of all bytes read.
    """

    frame: pd.DataFrame
    results: tuple[Result, ...]
    pictures: Mapping[str, Path]
    digest: str


def load_source(paths: Iterable[Path | str]) -> Source:
    """Read result files and folders of them.

    Raises:
        UserError: see :func:`ssdd_bench.report.frame.load_frame`.
    """
    files = find_results(paths)
    results = load_results(files)
    digest, pictures = hashlib.sha256(), {}
    for file, result in zip(files, results, strict=True):
        picture = file.parent / "samples" / f"{file.stem}.png"
        scores = [file.parent / result.scores] if result.scores else []
        for path in (file, *scores, picture):
            if path.is_file():
                digest.update(f"{path.name}\n".encode())
                digest.update(path.read_bytes())
        if picture.is_file():
            pictures[result.fingerprint] = picture
    frame = to_frame(results, list(map(read_scores, files, results)))
    return Source(frame, tuple(results), pictures, digest.hexdigest())
