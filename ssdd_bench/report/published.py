"""Numbers that papers and model cards print, kept apart from what we measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.metrics.catalog import METRICS, sort_metrics
from ssdd_bench.report.tables.model import Table, name_of
from ssdd_bench.report.tables.numbers import metric_heading
from ssdd_bench.results.records import read_json, read_record

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PublishedRow:
    """One printed line of numbers about one model.

    Attributes:
        model: as the source names it, with the size or variant.
        latent: "f8c4", "32 tokens", "0.219 bpp"; empty where the source has none.
        resolution: in pixels; None for images at their own size.
        dataset: the images reconstructed.
        n: how many of them, None where the source is silent; it biases a distance.
        metrics: by our keys; the definitions behind them are the source's.
        images_per_s: decoded, on ``hardware``.
        steps: of the decoder, where the source tells.
        source: document and table.
        protocol: always "published": nobody here ran it.
        hardware: "not stated" where the source is silent.
        digitised: read off a figure by us.
        second_hand: read in another document than the original.
        note: what else a reader must know.
    """

    model: str
    latent: str
    resolution: int | None
    dataset: str
    n: int | None
    metrics: dict[str, float]
    images_per_s: float | None
    steps: int | None
    source: str
    protocol: Literal["published"]
    hardware: str
    digitised: bool
    second_hand: bool
    note: str


@dataclass(frozen=True)
class PublishedFile:
    """A file of published rows with what holds for all of them."""

    schema_version: int
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
    return {file.stem: _load(file) for file in files}


def published_table(name: str, file: PublishedFile) -> Table:
    """Build the table of numbers printed by others, without ranks."""
    rows = file.rows
    caption = f"Published by others, not measured here. {file.note}"
    table = Table(f"Published: {file.title}", caption, name_of("published", name), kind="published")
    table.add("model", (row.model for row in rows), map(_notes, rows), numeric=False)
    table.add("latent", (row.latent for row in rows), numeric=False)
    table.add("px", (row.resolution for row in rows))
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


def _load(file: Path) -> PublishedFile:
    content = read_record(PublishedFile, read_json(file), str(file))
    if content.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{file}: key 'schema_version' is {content.schema_version}, expected {SCHEMA_VERSION}"
        )
    for index, row in enumerate(content.rows):
        if not row.source:
            raise UserError(f"{file}: key 'rows[{index}].source' is empty: name the document")
        if not row.metrics:
            raise UserError(f"{file}: key 'rows[{index}].metrics' is empty")
        if unknown := row.metrics.keys() - METRICS.all().keys():
            raise UnknownNameError(f"{file}: rows[{index}]: metric", min(unknown), METRICS.all())
    return content
