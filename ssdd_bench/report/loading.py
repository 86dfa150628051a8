"""Everything that a report is made from, read once: results, scores and pictures beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ssdd_bench.report.frame import read_scores, to_frame
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, load_results

Key = tuple[str, int, str, int, str]
"""Label, resolution, protocol, seed and fingerprint: one result."""


@dataclass(frozen=True)
class Source:
    """What result files and the files beside them say.

    Attributes:
        frame: see :func:`ssdd_bench.report.frame.to_frame`.
        results: in the order of their files' names.
        pictures: originals above reconstructions, of the results that have them.
        digest: sha256 of all bytes read; other inputs have another one.
    """

    frame: pd.DataFrame
    results: tuple[Result, ...]
    pictures: Mapping[Key, Path]
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
            pictures[key_of(result)] = picture
    frame = to_frame(results, list(map(read_scores, files, results)))
    return Source(frame, tuple(results), pictures, digest.hexdigest())


def key_of(result: Result) -> Key:
    """Name a result such that a row of the frame finds it, see :func:`row_key`."""
    return (
        result.tokenizer.label,
        result.resolution,
        str(result.protocol["id"]),
        result.seed,
        result.fingerprint,
    )


def row_key(row: pd.Series[Any]) -> Key:
    """Name the result of a row of the frame."""
    return (
        row["label"],
        int(row["resolution"]),
        row["protocol"],
        int(row["seed"]),
        row["fingerprint"],
    )
