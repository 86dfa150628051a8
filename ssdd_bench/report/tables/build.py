"""Builders of tables from the frame: one per resolution and set of images, rows by rate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import pandas as pd

from ssdd_bench.errors import counted
from ssdd_bench.metrics.intervals import NORMAL_95
from ssdd_bench.report.frame import Footnote, metric_directions
from ssdd_bench.report.groups import (
    Group,
    comparable_groups,
    describe_hardware,
    describe_machine,
    pool_seeds,
    row_names,
)
from ssdd_bench.report.ranking import (
    ELIGIBLE_RULE,
    TIE_RULE,
    TIED_WORDS,
    best_two,
    compare_with_best,
    is_ranked,
    is_tied,
)
from ssdd_bench.report.tables.columns import (
    Measure,
    format_rate,
    format_short,
    metric_title,
    scores,
    sections_by_rate,
    speeds,
    spreads,
)
from ssdd_bench.report.tables.model import MISSING, TIED, Cell, Column, Table, name_of

_MADE_BY: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "model": ("model", str),
    "sampler": ("sampler", str),
    "sampling_steps": ("sampling steps", lambda steps: counted(int(steps), "step")),
    "guidance": ("guidance", "guidance {}".format),
}


def build_tables(frame: pd.DataFrame) -> list[Table]:
    """Build one table of scores and speeds per group of comparable rows, seeds pooled.

    Args:
        frame: see :func:`ssdd_bench.report.frame.to_frame`.

    Returns:
        Tables whose rows stand by compression rate and are ranked within it, each followed by the
        spread over seeds where there are several.
    """
    tables = []
    for group in comparable_groups(pool_seeds(frame)):
        rows, directions = group.rows, metric_directions(frame)
        measures = [*scores(directions, group.n), *speeds(rows)]
        tables.append(_Builder(group, rows, rows["kind"].iloc[0]).build(measures))
        several = rows[rows["seeds"].map(len) > 1]
        if not several.empty:
            tables.append(_Builder(group, several, "seeds").build([*spreads(directions)]))
    return tables


class _Builder:
    """Lays out rows that share images, resolution and protocol, one line each."""

    def __init__(self, group: Group, rows: pd.DataFrame, kind: str) -> None:
        sections = sections_by_rate(rows)
        self.group = group
        self.rows = rows.assign(name=row_names(rows, with_steps=False)).loc[sections.index]
        topic = self.rows["kind"].iloc[0].capitalize()
        if kind == "seeds":
            topic = f"Spread over seeds of {topic.lower()}"
        title = f"{topic}, {group.title}"
        name = name_of(topic, group.resolution, group.protocol, group.data, group.n, _pixels(group))
        self.table = Table(title, "", name, kind, indices=list(self.rows.index))
        self.table.sections = list(Counter(sections).items())
        self.records = self.rows.to_dict("records")
        self.machines = describe_hardware(self.rows)
        ranked = self.rows[is_ranked(self.rows)]
        self.all_are_ranked = len(ranked) == len(self.rows)
        groups = ranked.groupby(sections[ranked.index], sort=False).groups.values()
        self.ranked = [ranked.loc[index] for index in groups]
        self.made_by = ""

    def build(self, measures: list[Measure]) -> Table:
        """Add the columns, remarks and conditions."""
        table = self.table
        self._add_names()
        for measure in measures:
            table.remarks += [text for text in self._add(measure) if text not in table.remarks]
        if table.kind != "seeds":
            self._add_machines()
        table.conditions = self._conditions()
        return table

    def _add_names(self) -> None:
        """Add the columns that say what each row is."""
        table, rows = self.table, self.rows
        notes = [set[str]()] * len(rows)
        if table.kind != "seeds":
            notes = [_texts(row, "label") for row in rows["footnotes"]]
        shared = _shared(notes)
        own = [sorted(texts - shared) for texts in notes]
        steps = bool(rows["steps"].notna().any())
        names = [_name(row, steps) for row in self.records]
        titles = [_title(row) for row in self.records]
        table.add("tokenizer", names, own, sorted(shared), titles, numeric=False)
        self._add_made_by()
        if steps:
            heading = "decoder steps" if rows["model"].any() else "steps"
            table.add(heading, [None if pd.isna(one) else one for one in rows["steps"]])
        if len({*map(len, rows["seeds"])}) > 1:
            table.add("seeds", map(_join, rows["seeds"]), main=False)

    def _add_made_by(self) -> None:
        """Add what generated the latents: as columns where it differs, else to the conditions."""
        same = []
        for column, (heading, describe) in _MADE_BY.items():
            values = ["" if pd.isna(value) else str(value) for value in self.rows[column]]
            if len(set(values)) > 1:
                self.table.add(heading, values, numeric=column in ("sampling_steps", "guidance"))
            elif values[0]:
                same.append(describe(values[0]))
        if same:
            self.made_by = f" Generated by {', '.join(same)}."

    def _add_machines(self) -> None:
        """Add sizes, and machines where they differ."""
        table, rows, parameters = self.table, self.rows, self.rows["params_decoder"]
        if parameters.any():
            millions = parameters.where(parameters > 0) / 1e6
            table.add(
                *("decoder M", map(format_short, millions)),
                explanation="Decoder: millions of parameters.",
            )
        table.add("latent", rows["latent"].str.replace("x", "×"), numeric=False, main=False)
        if table.kind == "reconstruction":
            table.add(
                *("per pixel", map(format_rate, self.records)),
                main=False,
                explanation="Per pixel: floats (fl) or bits of the latent.",
            )
        if len(self.machines) > 1:
            table.add("machine", map(describe_machine, self.records), numeric=False)

    def _add(self, measure: Measure) -> list[str]:
        """Add a column, or return why it has no value."""
        cells = [measure.cell(row) for row in self.records]
        notes = [_texts(row["footnotes"], measure.notes) for row in self.records]
        present = [own for own, cell in zip(notes, cells, strict=True) if cell.text != MISSING]
        if not present:
            return sorted(set().union(*notes))
        shared = _shared(present)
        marks = self.table.number(sorted(shared))
        ranked = [
            replace(cell, notes=self.table.number(sorted(own - shared)))
            for cell, own in zip(self._rank(measure, cells), notes, strict=True)
        ]
        lower = measure.higher_is_better is False
        self.table.columns.append(
            Column(
                *(measure.key, measure.heading, ranked, marks),
                lower_is_better=lower,
                main=measure.main,
                hint=metric_title(measure.key),
                explanations=(*filter(None, [measure.explanation]), *self._explain_ranks(ranked)),
                spread=measure.interval.explanation if measure.interval else "",
            )
        )
        return []

    def _rank(self, measure: Measure, cells: list[Cell]) -> list[Cell]:
        """Mark the best, the second best and those tied with the best of each section."""
        higher, column = measure.higher_is_better, measure.values[0]
        comparable = measure.is_score or len(self.machines) == 1
        if higher is None or not comparable:
            return cells
        by_row = dict(zip(self.rows.index, cells, strict=True))
        texts = {index: cell.text for index, cell in by_row.items()}
        for rows in self.ranked:
            best, second = best_two(rows[column], texts, higher)
            behind = compare_with_best(rows, column, higher) if best and measure.is_score else {}
            for index in best:
                by_row[index] = replace(by_row[index], best=True)
            for index in second:
                by_row[index] = replace(by_row[index], second=True)
            for index, pair in behind.items():
                cell = by_row[index]
                hint = "; ".join(filter(None, (cell.hint, *_words(measure, *pair))))
                tied = is_tied(*pair) and not cell.best
                by_row[index] = replace(cell, tied=tied, hint=hint)
        return list(by_row.values())

    def _explain_ranks(self, cells: list[Cell]) -> Iterator[str]:
        """Explain the marks of a column."""
        best = any(cell.best for cell in cells)
        if best:
            yield "Bold: best of its column at this compression rate."
        if any(cell.second for cell in cells):
            yield "Underlined: second best, where three or more are ranked."
        if any(cell.tied for cell in cells):
            yield f"{TIED}: {TIE_RULE}"
        if best and not self.all_are_ranked:
            yield ELIGIBLE_RULE

    def _conditions(self) -> str:
        rows, first = self.rows, self.rows.iloc[0]
        words = "seed"
        if (rows["seeds"].map(len) > 1).any():
            words = "seeds" if self.table.kind == "seeds" else "mean over seeds"
        return (
            f"n = {first['n']} {images_of(first['kind'])} {first['data']} (pixels "
            f"{_pixels(self.group)}), protocol {first['protocol']}, {words} "
            f"{_join(sorted({*chain(*rows['seeds'])}))}.{self.made_by}"
        )


def _name(row: Any, steps: bool) -> str:
    """Name a row without what other columns say: the model of latents and the decoder's steps."""
    apart = row["name"].removeprefix(row["label"])
    label = row["tokenizer"]
    if steps:
        label = (
            row["network"].partition(f" + {row['model']}")[0] if row["model"] else row["network"]
        )
    return f"{label}{apart}"


def _title(row: Any) -> str:
    """Return the full name of a row's tokenizer, "" where the row has it already."""
    return "" if row["title"].lower() == row["id"].lower() else str(row["title"])


def _words(measure: Measure, difference: float, error: float) -> Iterator[str]:
    """Say how far a row is from the best, with a 95% interval, and whether that is noise."""
    if math.isfinite(error):
        low, high = (measure.write(difference + end * NORMAL_95 * error) for end in (-1, 1))
        yield f"difference from the best {measure.write(difference)} ({low} to {high})"
    if is_tied(difference, error):
        yield TIED_WORDS


def images_of(kind: str) -> str:
    """Name the role of a data set: its images are reconstructed, or compared with."""
    return "images of" if kind == "reconstruction" else "generated images against"


def _join(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _texts(notes: Iterable[Footnote], column: str) -> set[str]:
    return {note.text for note in notes if note.column == column}


def _shared(notes: list[set[str]]) -> set[str]:
    """Find the texts that two or more rows all carry: they go to the heading."""
    return set.intersection(*notes) if len(notes) > 1 else set()


def _pixels(group: Group) -> str:
    return str(group.rows["data_sha256"].iloc[0])[:8]
