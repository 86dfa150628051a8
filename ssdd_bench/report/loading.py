"""Input of a report: results with the scores and pictures beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from ssdd_bench.errors import UserError
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.report.frame import Scores, to_frame
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.results.pictures import Pictures, find_pictures
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, load_results


@dataclass(frozen=True)
class Source:
    """Result files and the files beside them.

    Attributes:
        frame: see :func:`ssdd_bench.report.frame.to_frame`.
        results: in the order of their files' names.
        pictures: crops, by fingerprint of the results that have them.
        files: all files behind these.
    """

    frame: pd.DataFrame
    results: tuple[Result, ...]
    pictures: Mapping[str, Pictures]
    files: tuple[Path, ...]

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """The frame with the mean of each row's seeds."""
        return pool_seeds(self.frame)

    @cached_property
    def digest(self) -> str:
        """sha256 of names and bytes of all files."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(f"{path.name}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()


def load_source(paths: Iterable[Path | str]) -> Source:
    """Read result files and folders of them.

    Raises:
        UserError: see :func:`ssdd_bench.report.frame.to_frame`,
            :func:`ssdd_bench.results.store.load_results` and :func:`read_scores`.
    """
    files = find_results(paths)
    results = list(map(_note_anew, load_results(files)))
    read, pictures = list[Path](), dict[str, Pictures]()
    for file, result in zip(files, results, strict=True):
        scores = [file.parent / result.scores] if result.scores else []
        read += [path for path in (file, *scores) if path.is_file()]
        if saved := find_pictures(file, result):
            pictures[result.fingerprint] = saved
            read += saved.reconstructions
    frame = to_frame(results, share_ids(map(read_scores, files, results)))
    return Source(frame, tuple(results), pictures, tuple(read))


def _note_anew(result: Result) -> Result:
    """Replace the note on shipped weights, told by their checksums, with that of the manifest.

    Results that were measured before and after a note was reworded share one footnote in this way.
    """
    tokenizer = result.tokenizer
    info = TOKENIZERS.all().get(tokenizer.id)
    if info is None or info.weights_origin(tokenizer.weights) != "shipped":
        return result
    return replace(result, tokenizer=replace(tokenizer, note=info.note_on("shipped")))


def share_ids(found: Iterable[Scores]) -> list[Scores]:
    """Give successive scores of equal ids one index, which soon compares as equal to itself."""
    scores, index = list(found), pd.Index([])
    for one in chain.from_iterable(each.values() for each in scores):
        if one.index.equals(index):
            one.index = index
        index = one.index
    return scores


def read_scores(file: Path, result: Result) -> Scores:
    """Read the scores of single images that lie beside a result; empty where there are none.

    Raises:
        UserError: the file is damaged.
    """
    path = file.parent / result.scores
    if not result.scores or not path.exists():
        return {}
    try:
        with pq.ParquetFile(path) as parquet:  # in a third of the time of pandas' own reader
            table = parquet.read().to_pandas().set_index("id")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: damaged: delete it or measure again") from error
    return {str(key): table[key] for key in table}
