"""Numbers that papers and model cards print, kept apart from what we measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from ssdd_bench.errors import UserError
from ssdd_bench.metrics.catalog import METRICS, sort_metrics
from ssdd_bench.report.tables.columns import metric_heading
from ssdd_bench.report.tables.model import Table, name_of
from ssdd_bench.results.records import Rule, read_json, read_record

KNOWN: Final = Rule(
    "scores by keys of metrics that exist",
    lambda metrics: metrics.keys() <= METRICS.all().keys(),
)
UNSTATED: Final = "not stated"


@dataclass(frozen=True)
class PublishedRow:
    """One printed line of numbers about one model."""

    model: str  # as the source names it, with the size or variant
    latent: str  # "f8c4", "32 tokens", "0.219 bpp"; empty where the source has none
    resolution: int | None  # in pixels; None for images at their own size
    dataset: str
    n: int | None  # images, which bias a distance; None where the source is silent
    # By our keys; the definitions behind them are the source's.
    metrics: Annotated[dict[str, float], KNOWN]
    images_per_s: float | None  # decoded, on ``hardware``
    steps: int | None  # of the decoder, where the source tells
    source: Annotated[str, Rule("a document and table", bool)]
    protocol: Literal["published"]  # nobody here ran it
    hardware: str  # UNSTATED where the source is silent
    digitised: bool  # read off a figure by us
    second_hand: bool  # read in another document than the original
    note: str


@dataclass(frozen=True)
class PublishedFile:
    """A file of published rows with what holds for all of them."""

    schema_version: Literal[1]
    title: str
    note: str
    rows: tuple[PublishedRow, ...]


def load_published(folder: Path) -> dict[str, PublishedFile]:
    """Read every ``*.json`` of a folder of published numbers, by file name without suffix.

    Raises:
        UserError: the folder is missing or empty, or a file does not fit the schema.
    """
    files = sorted(Path(folder).glob("*.json"))
    if not files:
        raise UserError(f"{folder}: no files of published numbers (*.json) here")
    return {file.stem: _read(file) for file in files}


def _read(path: Path) -> PublishedFile:
    file = read_record(PublishedFile, read_json(path), str(path))
    for place, row in enumerate(file.rows):
        if not row.metrics and row.images_per_s is None:
            raise UserError(
                f"{path}: rows[{place}] has neither metrics nor images_per_s: add one or delete it"
            )
        if row.images_per_s is None and row.hardware != UNSTATED:
            raise UserError(f"{path}: rows[{place}] names hardware without images_per_s")
    return file


def published_table(name: str, file: PublishedFile) -> Table:
    """Build the table of numbers printed by others, without ranks."""
    rows = file.rows
    caption = f"Published by others, not measured here. {file.note}"
    table = Table(f"Published: {file.title}", caption, name_of("published", name), kind="published")
    table.add("model", (row.model for row in rows), map(_notes, rows), numeric=False)
    table.add("latent", (row.latent for row in rows), numeric=False)
    table.add("px", (row.resolution for row in rows))
    if len({row.dataset for row in rows}) > 1:
        table.add("data", (row.dataset for row in rows), numeric=False)
    table.add("images", (f"{row.n:,}" if row.n else None for row in rows))
    for key in sort_metrics({key for row in rows for key in row.metrics}):
        higher = METRICS.get(key).higher_is_better
        texts = [f"{row.metrics[key]:g}" if key in row.metrics else "" for row in rows]
        table.add(metric_heading(key, higher), texts, lower_is_better=not higher)
    speeds = [f"{row.images_per_s:g}" if row.images_per_s else "" for row in rows]
    if any(speeds):
        table.add("decode img/s", speeds)
        table.add("hardware", (row.hardware for row in rows), numeric=False)
    table.add("source", (row.source for row in rows), numeric=False)
    return table


def _notes(row: PublishedRow) -> Iterator[str]:
    if row.note:
        yield row.note
    if row.digitised:
        yield "read off a figure"
    if row.second_hand:
        yield "read in another document than the original"
