"""What a table says, cell by cell, before anything decides how it looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ssdd_bench.report.frame import Footnote, metric_directions
from ssdd_bench.report.groups import Group, comparable_groups, describe_hardware, row_names
from ssdd_bench.report.ranking import find_ties, is_ranked
from ssdd_bench.report.seeds import pool_seeds

MISSING = "–"
TIED = "≈"
NEGLIGIBLE = 1e-9  # what rounding leaves of a distance between equal sets; shown as 0
_DISTANCES = (
    "fd_",
    "rfid",
    "gfid",
    "sfid",
    "kid",
)  # depend on the number of images, so n stands in the header


@dataclass(frozen=True)
class Cell:
    """One formatted value; ``notes`` are numbers of footnotes.

    Attributes:
        text: the value.
        best: of its column.
        second: second best of its column; marked in tables of the report only.
        tied: other images might have made it the best; marked in the table.
        notes: numbers of footnotes.
    """

    text: str
    best: bool = False
    second: bool = False
    tied: bool = False
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Column:
    """A heading and its values; ``key`` is the heading without n, arrow and unit."""

    key: str
    heading: str
    cells: list[Cell]
    notes: tuple[int, ...] = ()
    numeric: bool = True


@dataclass
class Table:
    """What both renderers show of one group of comparable rows.

    Attributes:
        title: heading.
        caption: what the rows share.
        columns: from left to right.
        footnotes: by number, from 1.
        remarks: why metrics that were asked for have no column, and how far scores spread over
            seeds; one line each.
    """

    title: str
    caption: str
    columns: list[Column] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def number(self, texts: Iterable[str]) -> tuple[int, ...]:
        """Return the footnote numbers of these texts, adding those that are new."""
        numbers = set()
        for text in texts:
            if text not in self.footnotes:
                self.footnotes.append(text)
            numbers.add(self.footnotes.index(text) + 1)
        return tuple(sorted(numbers))


def build_tables(frame: pd.DataFrame) -> list[Table]:
    """Format a frame of :func:`to_frame`, one table per group of comparable rows, seeds pooled.

    The best value of a column, and whatever prints the same, is marked; controls and lossless
    rows do not compete, nor codecs with tokenizers, nor anything in speed when machines differ.
    """
    return [_build_table(group) for group in comparable_groups(pool_seeds(frame))]


def format_number(value: float) -> str:
    """Four significant digits without an exponent where that stays readable."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < NEGLIGIBLE:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def metric_heading(metric: str, higher_is_better: bool, n: int) -> str:
    """Head a metric's column; a distance carries n because it depends on it."""
    name = f"{metric}@{n}" if metric.startswith(_DISTANCES) else metric
    return f"{name} {'↑' if higher_is_better else '↓'}"


def _build_table(group: Group) -> Table:
    rows = group.rows
    title = f"{group.resolution} × {group.resolution} px, {group.protocol}"
    table = Table(title, _caption(group))
    directions = metric_directions(rows)
    own = ["label", "decode_ips", *directions]
    shared = _shared_notes(rows, own)

    def add(
        key: str,
        heading: str,
        texts: list[str],
        source: str = "",
        best: set[str] | None = None,
        ties: Collection[int] = (),
    ) -> None:
        column_notes = table.number(text for text in shared if shared[text] == source)
        cells = []
        for row, (text, notes) in enumerate(zip(texts, rows["footnotes"], strict=True)):
            mine = [n.text for n in notes if n.column == source and n.text not in shared]
            is_best = bool(best) and text in (best or ())
            tied = row in ties and not is_best
            cells.append(Cell(text, is_best, tied=tied, notes=table.number(mine)))
        numeric = key not in ("tokenizer", "latent", "machine")
        table.columns.append(Column(key, heading, cells, column_notes, numeric))

    add("tokenizer", "tokenizer", list(row_names(rows)), "label")
    add("latent", "latent", list(rows["latent"].str.replace("x", "×")))
    add("per pixel", "per pixel", [rate_text(row) for row in rows.itertuples()])
    if rows["steps"].notna().any():
        add("steps", "steps", format_column(rows["steps"], str))
    competing = is_ranked(rows)
    for metric, higher in directions.items():
        if rows[metric].isna().all():
            notes = {note for notes in rows["footnotes"] for note in notes}
            reasons = {note.text for note in notes if note.column == metric}
            if len(reasons) < 2:  # none where it was measured in another group only
                table.remarks += reasons
                continue
        texts = format_column(rows[metric], metric_format(metric))
        best = _best(rows[metric].where(competing), texts, higher)
        ties = find_ties(rows[competing], metric, higher) if best else set()
        positions = {i for i, index in enumerate(rows.index) if index in ties}
        add(metric, metric_heading(metric, higher, group.n), texts, metric, best, positions)
    machines = describe_hardware(rows)
    if machines:
        for way in ("model", "encode", "decode"):
            if rows[f"{way}_ips"].isna().all():
                continue
            texts = [speed_text(row, way) for row in rows.itertuples()]
            speeds = rows[f"{way}_ips"].where(competing)
            best = _best(speeds, texts, True) if len(machines) == 1 else set()
            add(f"{way} img/s", f"{way} img/s", texts, f"{way}_ips", best)
    if rows["params_decoder"].any():
        add("decoder M", "decoder M", format_column(rows["params_decoder"] / 1e6, three_digits))
    if rows["gmac_model"].notna().any():
        add("model GMAC", "model GMAC", format_column(rows["gmac_model"], three_digits))
    if rows["gmac_decode"].notna().any():
        add("decode GMAC", "decode GMAC", format_column(rows["gmac_decode"], three_digits))
    if rows["peak_memory_bytes"].notna().any():
        megabytes = rows["peak_memory_bytes"].astype("Float64") / 1e6
        add("memory MB", "memory MB", format_column(megabytes, lambda value: f"{value:.0f}"))
    table.remarks += seed_spreads(rows)
    if len(machines) > 1:
        add("machine", "machine", _machines(rows))
    return table


def _caption(group: Group) -> str:
    rows = group.rows
    seeds = seeds_text(rows)
    pixels = rows["data_sha256"].iloc[0][:10]
    parts = [
        f"n = {group.n} images of {group.data} (pixels {pixels}), "
        f"protocol {group.protocol}, seed {seeds}."
    ]
    machines = describe_hardware(rows)
    if machines:
        batches = sorted(set(rows["batch"].dropna()))
        where = machines[0] if len(machines) == 1 else "the machine in the last column"
        parts.append(
            f"Images/s: median ± half the interquartile range on {where}, "
            f"batch {', '.join(map(str, batches))}."
        )
    units = "Per pixel: floats (fl) or bits of latent. Decoder: millions of parameters."
    if any(rows[f"{metric}_low"].notna().any() for metric in metric_directions(rows)):
        units += f" {TIED}: on other images it might be the best."
    return " ".join([*parts, units])


def _shared_notes(rows: pd.DataFrame, columns: list[str]) -> dict[str, str]:
    """Texts that every row with a value of a column carries: they go to the heading."""
    shared: dict[str, str] = {}
    for column in columns:
        carriers = list(rows["footnotes"])
        if column != "label":
            present = rows[column].notna()
            carriers = [notes for notes, here in zip(carriers, present, strict=True) if here]
        if len(carriers) > 1:
            common = set.intersection(
                *({n for n in notes if n.column == column} for notes in carriers)
            )
            shared |= {note.text: column for note in sorted(common, key=_note_text)}
    return shared


def _note_text(note: Footnote) -> str:
    return note.text


def _best(values: pd.Series[Any], texts: list[str], higher: bool) -> set[str]:
    """The text of the best finite value, if at least two compete."""
    finite = {
        text: value for value, text in zip(values, texts, strict=True) if math.isfinite(value)
    }
    if values.notna().sum() < 2 or not finite:
        return set()
    pick: Callable[..., str] = max if higher else min
    return {pick(finite, key=lambda text: finite[text])}


def seeds_text(rows: pd.DataFrame) -> str:
    """All seeds of pooled rows."""
    return ", ".join(str(seed) for seed in sorted({one for own in rows["seeds"] for one in own}))


def seed_spreads(rows: pd.DataFrame) -> list[str]:
    """Mean and range of every metric of each pooled row that has several seeds.

    With it the 95% interval over images, mean over the seeds.
    """
    lines = []
    for name, (_, row) in zip(row_names(rows), rows.iterrows(), strict=True):
        if len(row["seeds"]) < 2:
            continue
        scores = []
        for metric, ends in row["spread"].items():
            if all(map(math.isfinite, ends)):
                show = metric_format(metric)
                spread = " to ".join(map(show, ends))
                low, high = (row[f"{metric}_{end}"] for end in ("low", "high"))
                if not math.isnan(low):
                    spread += f"; 95% over images {show(low)} to {show(high)}"
                scores.append(f"{metric} {show(row[metric])} ({spread})")
        seeds = ", ".join(map(str, row["seeds"]))
        lines.append(f"{name}, mean (range) over seeds {seeds}: {', '.join(scores)}")
    return lines


def format_column(values: pd.Series[Any], show: Callable[[Any], str]) -> list[str]:
    """Write every value, and a dash where there is none."""
    return [MISSING if pd.isna(value) else show(value) for value in values]


def metric_format(metric: str) -> Callable[[float], str]:
    """Choose how a metric's values are written: decibels with two decimals."""

    def decibels(value: float) -> str:
        return f"{value:.2f}" if math.isfinite(value) else format_number(value)

    return decibels if metric.startswith("psnr") else format_number


def rate_text(row: Any) -> str:
    """Write what the latent holds per pixel: floats or bits."""
    if not pd.isna(row.bits_per_pixel):
        return f"{row.bits_per_pixel:.3g} bit"
    if not pd.isna(row.floats_per_pixel):
        return f"{row.floats_per_pixel:.3g} fl"
    return MISSING


def speed_text(row: Any, way: str) -> str:
    """Median images/s and half the interquartile range of a row of the frame."""
    median, low, high = (getattr(row, f"{way}_ips{end}") for end in ("", "_q1", "_q3"))
    if math.isnan(median):
        return MISSING
    digits = max(0, 2 - math.floor(math.log10(median)))
    return f"{median:.{digits}f} ±{(high - low) / 2:.{digits}f}"


def three_digits(value: float) -> str:
    """Three significant digits, and no exponent of large numbers."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _machines(rows: pd.DataFrame) -> list[str]:
    names: list[str] = []
    for index in range(len(rows)):
        names += describe_hardware(rows.iloc[[index]]) or [MISSING]
    return names
