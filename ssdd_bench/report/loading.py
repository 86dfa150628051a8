"""Input of a report: results with the scores and pictures beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ssdd_bench.errors import UserError
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.report.frame import Scores, to_frame
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.model import Table
from ssdd_bench.results.pictures import Pictures, find_pictures
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, load_result


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
    def tables(self) -> list[Table]:
        """Tables of the pooled rows."""
        return build_tables(self.pooled)

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
    infos = TOKENIZERS.all()
    results = [_note_anew(one, infos.get(one.tokenizer.id)) for one in map(load_result, files)]
    read, pictures = list[Path](), dict[str, Pictures]()
    for file, result in zip(files, results, strict=True):
        scores = [file.parent / result.scores] if result.scores else []
        read += [path for path in (file, *scores) if path.is_file()]
        if saved := find_pictures(file, result):
            pictures[result.fingerprint] = saved
            read += saved.reconstructions
    frame = to_frame(results, read_scores(files, results))
    return Source(frame, tuple(results), pictures, tuple(read))


def _note_anew(result: Result, info: TokenizerInfo | None) -> Result:
    """Replace the note on shipped weights, told by their checksums, with that of the manifest.

    Results that were measured before and after a note was reworded share one footnote in this way.
    """
    tokenizer = result.tokenizer
    if info is None or info.weights_origin(tokenizer.weights) != "shipped":
        return result
    return replace(result, tokenizer=replace(tokenizer, note=info.note_on("shipped")))


def read_scores(files: Iterable[Path], results: Iterable[Result]) -> list[Scores]:
    """Read the scores of single images that lie beside results; empty where there are none.

    Results of the same images share one index, which soon compares as equal to itself.

    Raises:
        UserError: a file is damaged.
    """
    found, ids, index = list[Scores](), None, pd.Index([])
    for file, result in zip(files, results, strict=True):
        path, scores = file.parent / result.scores, dict[str, "pd.Series[float]"]()
        if result.scores and path.exists():
            try:
                # Soon, where pandas' reader takes its time.
                with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as parquet:
                    table = parquet.read(use_threads=False)
                if ids is None or not table["id"].equals(ids):
                    ids = table["id"]
                    index = pd.Index(ids.to_pandas(), name="id")
            except (OSError, ValueError, KeyError) as error:
                raise UserError(f"{path}: damaged: delete it or measure again") from error
            scores = {
                key: pd.Series(table[key].to_numpy(), index, name=key)
                for key in table.column_names
                if key != "id"
            }
        found.append(scores)
    return found
