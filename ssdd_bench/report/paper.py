"""Tables as papers print them: rows by compression rate, columns of scores per resolution."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ssdd_bench.report.frame import Footnote, metric_directions
from ssdd_bench.report.grid import (
    MISSING,
    TIED,
    Cell,
    Column,
    Table,
    format_column,
    metric_format,
    metric_heading,
    rate_text,
    seed_spreads,
    seeds_text,
    speed_text,
    three_digits,
)
from ssdd_bench.report.groups import Group, comparable_groups, describe_hardware, row_names, split
from ssdd_bench.report.ranking import best_two, find_ties, is_ranked
from ssdd_bench.report.seeds import pool_seeds

_SETTING = ["protocol", "data", "n"]  # what all resolutions of one table share


@dataclass
class PaperTable(Table):
    """A table with headings over columns and over rows.

    Attributes:
        name: of letters, digits and hyphens; unique in a report.
        kind: ``reconstruction``, ``generation``, ``speed`` or ``published``.
        spans: heading over so many columns, from left to right; empty over the first ones.
        sections: heading over so many rows, from the top.
    """

    name: str = ""
    kind: str = "reconstruction"
    spans: list[tuple[str, int]] = field(default_factory=list)
    sections: list[tuple[str, int]] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, list[list[Cell]]]]:
        """Yield every section's heading and its rows of cells."""
        lines = [list(cells) for cells in zip(*(c.cells for c in self.columns), strict=True)]
        for heading, count in self.sections:
            yield heading, lines[:count]
            lines = lines[count:]


def build_paper_tables(frame: pd.DataFrame) -> list[PaperTable]:
    """Format a frame: scores of reconstructions, then of generated images, and speed after each.

    One table per protocol and set of images, with the resolutions side by side and seeds pooled.
    """
    frame = pool_seeds(frame)
    tables = []
    for kind in ("reconstruction", "generation"):
        for rows in split(frame[frame["kind"] == kind], _SETTING):
            tables.append(_Builder(rows, kind, kind).build(_add_scores))
            if (rows["decode_ips"] > 0).any() or (rows["model_ips"] > 0).any():
                tables.append(_Builder(rows, kind, "speed").build(_add_speeds))
    return tables


def metric_name(key: str) -> str:
    """Write a metric as papers do, where they agree on how."""
    return {
        "psnr": "PSNR",
        "ssim": "SSIM",
        "ms_ssim": "MS-SSIM",
        "mse": "MSE",
        "mae": "MAE",
        "rfid": "rFID",
        "gfid": "gFID",
        "sfid": "sFID",
        "kid": "KID",
        "isc": "IS",
        "lpips": "LPIPS",
        "lpips_alex": "LPIPS-Alex",
        "lpips_vgg": "LPIPS-VGG",
        "dreamsim": "DreamSim",
    }.get(key, key)


def heading_of(metric: str, higher_is_better: bool, n: int) -> str:
    """Head a metric's column as :func:`ssdd_bench.report.grid.metric_heading`, in papers' words."""
    return metric_heading(metric, higher_is_better, n).replace(metric, metric_name(metric), 1)


@dataclass(frozen=True)
class _Values:
    """A column of one resolution before it becomes cells.

    Attributes:
        key: unique in the table.
        heading: with arrow and n.
        texts: by name of the row.
        best, second, ties: names of rows.
        notes_of: column of the frame whose footnotes belong here; "" for none.
    """

    key: str
    heading: str
    texts: Mapping[str, str]
    best: Collection[str] = ()
    second: Collection[str] = ()
    ties: Collection[str] = ()
    notes_of: str = ""


class _Builder:
    """Rows that share images and protocol, one line per tokenizer, laid out step by step."""

    def __init__(self, rows: pd.DataFrame, kind: str, what: str) -> None:
        first = rows.iloc[0]
        self.rows = rows.assign(name=row_names(rows), section=_sections(rows))
        self.n = int(first["n"])
        self.groups = list(comparable_groups(self.rows))
        ordered = self.rows.sort_values(["section", "id", "steps"], kind="stable")
        sections = dict(zip(ordered["name"], ordered["section"], strict=True))
        self.names = list(sections)
        self.firsts = self.rows.drop_duplicates("name").set_index("name").loc[self.names]
        subject = {"reconstruction": "Reconstruction", "generation": "Generation"}[kind]
        topic = "Speed and cost" if what == "speed" else subject
        title = f"{topic}, {first['protocol']}, {first['data']}"
        slug = f"{kind}-{first['protocol']}-{first['data']}-{self.n}"
        if what == "speed":
            slug = f"speed-{slug}"
            title += " (generation)" if kind == "generation" else ""
        slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in slug)
        self.table = PaperTable(title, "", name=slug, kind=what)
        counts: dict[str, int] = {}
        for _, heading in sections.values():
            counts[heading] = counts.get(heading, 0) + 1
        self.table.sections = list(counts.items())

    def build(self, add_columns: Callable[[_Builder], None]) -> PaperTable:
        """Add what every table begins with, then the rest, and the headings over all."""
        label_notes = self.rows.groupby("name")["footnotes"].agg("sum")
        cells = [
            Cell(name, notes=self._notes(label_notes[name], "label", set())) for name in self.names
        ]
        self.table.columns.append(Column("tokenizer", "tokenizer", cells, (), False))
        firsts = self.firsts
        streams = self.rows["floats_per_pixel"].isna() & self.rows["bits_per_pixel"].notna()
        if self.table.kind != "speed" and streams.any():
            texts = self.rows.apply(rate_text, axis=1).groupby(self.rows["name"]).agg(_span_text)
            self.add_plain("per pixel", [texts[name] for name in self.names])
        if firsts["steps"].notna().any():
            self.add_plain("steps", format_column(firsts["steps"], str))
        add_columns(self)
        return self.table

    def add_group(self, group: Group, columns: Iterable[_Values], heading: str) -> None:
        """Add columns of one resolution below a heading; those without a value are left out."""
        before = len(self.table.columns)
        notes = dict(zip(group.rows["name"], group.rows["footnotes"], strict=True))
        for column in columns:
            present = [name for name, text in column.texts.items() if text != MISSING]
            if not present:
                continue
            texts = [
                {note.text for note in notes[name] if note.column == column.notes_of}
                for name in present
            ]
            shared = set.intersection(*texts) if len(texts) > 1 else set()
            cells = [
                Cell(
                    column.texts.get(name, MISSING),
                    best=name in column.best,
                    second=name in column.second,
                    tied=name in column.ties and name not in column.best,
                    notes=self._notes(notes.get(name, ()), column.notes_of, shared),
                )
                for name in self.names
            ]
            marks = self.table.number(sorted(shared))
            self.table.columns.append(Column(column.key, column.heading, cells, marks))
        if added := len(self.table.columns) - before:
            self.table.spans.append((heading, added))

    def close_left(self) -> None:
        """Leave the columns so far without a heading above."""
        self.table.spans = [("", len(self.table.columns))]

    def headings(self) -> list[str]:
        """Name each group by its size, and by its pixels where one size has several."""
        sizes = [group.resolution for group in self.groups]
        return [
            f"{group.resolution} × {group.resolution} px"
            + (f" ({_pixels(group.rows)})" if sizes.count(group.resolution) > 1 else "")
            for group in self.groups
        ]

    def add_plain(self, heading: str, texts: Sequence[str]) -> None:
        """Add a column that holds for all resolutions."""
        cells = [Cell(text) for text in texts]
        self.table.columns.append(Column(heading, heading, cells))

    def _notes(self, notes: Iterable[Footnote], column: str, without: set[str]) -> tuple[int, ...]:
        texts = (note.text for note in notes if note.column == column and note.text not in without)
        return self.table.number(dict.fromkeys(texts))


def _add_scores(builder: _Builder) -> None:
    builder.close_left()
    table, rows = builder.table, builder.rows
    directions = metric_directions(rows)
    for group, heading in zip(builder.groups, builder.headings(), strict=True):
        mine = group.rows.set_index("name", drop=False)
        racing = is_ranked(mine)
        columns = []
        for metric, higher in directions.items():
            texts = dict(
                zip(mine.index, format_column(mine[metric], metric_format(metric)), strict=True)
            )
            best, second = best_two(mine.loc[racing, metric], texts, higher)
            ties = find_ties(mine[racing], metric, higher) if best else ()
            named = heading_of(metric, higher, group.n)
            columns.append(_Values(metric, named, texts, best, second, ties, metric))
        builder.add_group(group, columns, heading)
        spreads = seed_spreads(group.rows)
        table.remarks += [f"{group.resolution} px: {line}" for line in spreads]
    for metric in directions:
        if rows[metric].isna().all():
            notes = {note for notes in rows["footnotes"] for note in notes}
            reasons = {note.text for note in notes if note.column == metric}
            table.remarks += sorted(reasons) if len(reasons) == 1 else []
    parts = [_setting(builder)]
    if len(builder.names) > 1:
        parts.append("Bold: best of its column.")
    if len(builder.names) > 2:
        parts.append("Underlined: second best, where three or more compete.")
    if any(cell.tied for column in table.columns for cell in column.cells):
        parts.append(f"{TIED}: the difference from the best is within twice its standard error.")
    if not is_ranked(rows).all():
        parts.append("Controls and lossless rows do not compete, nor codecs with tokenizers.")
    table.caption = " ".join(parts)


def _add_speeds(builder: _Builder) -> None:
    firsts, machines = builder.firsts, describe_hardware(builder.rows)
    if firsts["params_decoder"].any():
        millions = firsts["params_decoder"].where(firsts["params_decoder"] > 0) / 1e6
        builder.add_plain("decoder M", format_column(millions, three_digits))
    if len(machines) > 1:
        texts = [" / ".join(describe_hardware(firsts.loc[[name]])) for name in builder.names]
        builder.add_plain("machine", texts)
    builder.close_left()
    for group, heading in zip(builder.groups, builder.headings(), strict=True):
        builder.add_group(group, _speed_columns(group), heading)
    batches = sorted(set(builder.rows["batch"].dropna()))
    where = machines[0] if len(machines) == 1 else "the machine in each row, unranked"
    builder.table.caption = (
        f"{_setting(builder)} Images per second: median ± half the interquartile range, batch "
        f"{', '.join(map(str, batches))}, on {where}. Decoder: millions of parameters. "
        "GMAC: per image, convolutions and matrix products. Memory: peak while decoding."
    )


def _speed_columns(group: Group) -> Iterator[_Values]:
    mine = group.rows.set_index("name", drop=False)
    alike = len(describe_hardware(mine)) == 1
    for way in ("model", "encode", "decode"):
        texts = {str(row.name): speed_text(row, way) for row in mine.itertuples()}
        best, second = set[str](), set[str]()
        if alike:
            best, second = best_two(mine.loc[is_ranked(mine), f"{way}_ips"], texts, True)
        notes_of = "decode_ips" if way == "decode" else ""
        heading = f"{way} img/s"
        yield _Values(heading, heading, texts, best, second, notes_of=notes_of)
    megabytes = mine["peak_memory_bytes"].astype("Float64") / 1e6
    for heading, values, show in (
        ("model GMAC", mine["gmac_model"], three_digits),
        ("decode GMAC", mine["gmac_decode"], three_digits),
        ("memory MB", megabytes, "{:.0f}".format),
    ):
        texts = dict(zip(mine.index, format_column(values, show), strict=True))
        yield _Values(heading, heading, texts)


def _setting(builder: _Builder) -> str:
    rows = builder.rows
    pixels = ", ".join(
        f"{_pixels(group.rows)} at {group.resolution} px" for group in builder.groups
    )
    seeds = seeds_text(rows)
    first = rows.iloc[0]
    what = "images of" if first["kind"] == "reconstruction" else "generated images against"
    return (
        f"n = {builder.n} {what} {first['data']} (pixels {pixels}), protocol "
        f"{first['protocol']}, seed {seeds}."
    )


def _pixels(rows: pd.DataFrame) -> str:
    return str(rows["data_sha256"].iloc[0])[:8]


def _sections(rows: pd.DataFrame) -> pd.Series[Any]:
    """Sort key and heading of the block that each row stands in: least compressed first."""
    return pd.Series([_section(row) for row in rows.itertuples()], index=rows.index, dtype=object)


def _section(row: Any) -> tuple[tuple[int, float], str]:
    if row.family == "control":
        return (4, 0.0), "controls"
    if not pd.isna(row.floats_per_pixel):
        rate = row.floats_per_pixel
        heading = f"f{row.f}c{row.channels}: {rate:.3g} floats per pixel (1/{3 / rate:.3g} of RGB)"
        return (1, -rate), heading
    if pd.isna(row.bits_per_pixel):
        return (3, 0.0), "latents of unknown size"
    if not pd.isna(row.tokens):
        rate = row.bits_per_pixel
        return (2, -rate), f"f{row.f}, tokens: {rate:.3g} bits per pixel (1/{24 / rate:.3g} of RGB)"
    return (3, 0.0), "byte streams"


def _span_text(texts: pd.Series[str]) -> str:
    """One text where all are equal, else the first and the last."""
    distinct = list(dict.fromkeys(texts))
    numbers = sorted(distinct, key=lambda text: float(text.split()[0]) if text[0].isdigit() else 0)
    return numbers[0] if len(numbers) == 1 else f"{numbers[0].split()[0]}–{numbers[-1]}"
