"""Builders of tables from the frame: one per resolution, or resolutions side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import pandas as pd

from ssdd_bench.report.frame import Footnote, metric_directions
from ssdd_bench.report.groups import (
    SAME_IMAGES,
    Group,
    comparable_groups,
    describe_hardware,
    pool_seeds,
    row_names,
    split,
)
from ssdd_bench.report.ranking import ELIGIBLE_RULE, TIE_RULE, best_two, find_ties, is_ranked
from ssdd_bench.report.tables.columns import (
    Measure,
    format_rates,
    format_short,
    scores,
    sections_by_rate,
    speeds,
    spreads,
)
from ssdd_bench.report.tables.model import MISSING, TIED, Cell, Column, Table, name_of

_TOPICS: Final = {
    "reconstruction": "Reconstruction",
    "generation": "Generation",
    "speed": "Speed and cost",
    "seeds": "Spread over seeds",
}
_MADE_BY: Final = {
    "model": ("model", "{}"),
    "sampler": ("sampler", "{}"),
    "sampling_steps": ("sampling steps", "{} steps"),
    "guidance": ("guidance", "guidance {}"),
}


def build_tables(frame: pd.DataFrame) -> list[Table]:
    """Build one table of scores and speeds per group of comparable rows, seeds pooled.

    Args:
        frame: see :func:`ssdd_bench.report.frame.to_frame`.

    Returns:
        Tables whose rows have the order of the frame, each followed by the spread over seeds.
    """
    tables = []
    for group in comparable_groups(pool_seeds(frame)):
        kind = group.rows["kind"].iloc[0]
        measures = [*scores(metric_directions(frame), group.n), *speeds(group.rows)]
        tables.append(_Builder(group.rows, kind, by_rate=False).build(measures))
        tables += _seed_tables(group.rows, by_rate=False)
    return tables


def build_report_tables(frame: pd.DataFrame) -> list[Table]:
    """Build a table of scores per protocol and set of images, and one of speeds after each.

    Resolutions stand side by side, rows by compression rate, and seeds are pooled.
    """
    frame = pool_seeds(frame)
    tables = []
    for kind in ("reconstruction", "generation"):
        for rows in split(frame[frame["kind"] == kind], SAME_IMAGES):
            measures = [*scores(metric_directions(rows), int(rows["n"].iloc[0]))]
            tables.append(_Builder(rows, kind).build(measures))
            tables += _seed_tables(rows)
            if (rows[["decode_ips", "model_ips"]] > 0).any(axis=None):
                tables.append(_Builder(rows, "speed").build([*speeds(rows)]))
    return tables


def _seed_tables(rows: pd.DataFrame, by_rate: bool = True) -> list[Table]:
    """Build the table of the rows that have several seeds; none if there are no such rows."""
    several = rows[rows["seeds"].map(len) > 1]
    if several.empty:
        return []
    return [_Builder(several, "seeds", by_rate).build([*spreads(metric_directions(rows))])]


class _Builder:
    """Lays out rows that share images and protocol, one line per tokenizer."""

    def __init__(self, rows: pd.DataFrame, kind: str, by_rate: bool = True) -> None:
        first = rows.iloc[0]
        self.rows = rows.assign(name=row_names(rows))
        self.groups = list(comparable_groups(self.rows))
        self.by_rate = by_rate
        sections = sections_by_rate(self.rows) if by_rate else dict.fromkeys(self.rows["name"], "")
        self.names = list(sections)
        self.firsts = self.rows.drop_duplicates("name").set_index("name", drop=False)
        self.firsts = self.firsts.loc[self.names]
        sizes = [] if by_rate else [self.groups[0].size]
        topic = _TOPICS[kind]
        if kind in ("speed", "seeds") and first["kind"] == "generation":
            topic += " of generation"
        title = ", ".join([topic, *sizes, first["protocol"], first["data"]])
        self.table = Table(title, "", name_of(title, first["n"]), kind)
        self.table.sections = list(Counter(sections.values()).items()) if by_rate else []
        self.conditions: list[str] = []

    def build(self, measures: list[Measure]) -> Table:
        """Add the columns, the headings over them, remarks and the caption."""
        table = self.table
        self._add_shared_columns()
        if table.kind != "seeds" and any(not measure.is_score for measure in measures):
            self._add_machines()
        spans = [("", len(table.columns))]
        reasons: dict[str, list[str]] = {}
        for group, heading in zip(self.groups, self._headings(), strict=True):
            before = len(table.columns)
            rows = {row["name"]: row for row in group.rows.to_dict("records")}
            for measure in measures:
                for text in self._add(group, rows, measure):
                    reasons.setdefault(text, []).append(heading)
            spans.append((heading, len(table.columns) - before))
        if self.by_rate and any(count for _, count in spans[1:]):
            table.spans = [(heading, count) for heading, count in spans if count]
        for text, headings in reasons.items():
            somewhere = len(headings) < len(self.groups)
            table.remarks.append(f"{', '.join(headings)}: {text}" if somewhere else text)
        table.caption = " ".join(self._caption())
        return table

    def _add_shared_columns(self) -> None:
        """Add the columns that hold for all resolutions."""
        table, firsts = self.table, self.firsts
        notes = [set[str]()] * len(self.names)
        if table.kind != "seeds":
            merged = self.rows.groupby("name")["footnotes"].agg("sum")
            notes = [_texts(merged[name], "label") for name in self.names]
        shared = _shared(notes)
        triples = zip(firsts["tokenizer"], firsts["label"], self.names, strict=True)
        labels = [tokenizer + name.removeprefix(label) for tokenizer, label, name in triples]
        own = [sorted(texts - shared) for texts in notes]
        table.add("tokenizer", labels, own, sorted(shared), numeric=False)
        if not self.by_rate:
            table.add("latent", firsts["latent"].str.replace("x", "×"), numeric=False)
        streams = self.rows["floats_per_pixel"].isna() & self.rows["bits_per_pixel"].notna()
        if table.kind == "reconstruction" and (streams.any() or not self.by_rate):
            rates = {name: format_rates(rows) for name, rows in self.rows.groupby("name")}
            table.add("per pixel", map(rates.get, self.names))
            self.conditions.append("Per pixel: floats (fl) or bits of the latent.")
        self._add_made_by()
        if len({*map(len, firsts["seeds"])}) > 1:
            table.add("seeds", map(_join, firsts["seeds"]))
        if firsts["steps"].notna().any():
            heading = "decoder steps" if firsts["model"].any() else "steps"
            table.add(heading, [None if pd.isna(steps) else steps for steps in firsts["steps"]])

    def _add_made_by(self) -> None:
        """Add what generated the latents: as columns where it differs, else to the caption."""
        same = []
        for column, (heading, words) in _MADE_BY.items():
            values = ["" if pd.isna(value) else str(value) for value in self.firsts[column]]
            if len(set(values)) > 1:
                self.table.add(heading, values, numeric=column in ("sampling_steps", "guidance"))
            elif values[0]:
                same.append(words.format(values[0]))
        if same:
            self.conditions.append(f"Generated by {', '.join(same)}.")

    def _add_machines(self) -> None:
        parameters, machines = self.firsts["params_decoder"], describe_hardware(self.rows)
        if parameters.any():
            millions = parameters.where(parameters > 0) / 1e6
            self.table.add("decoder M", map(format_short, millions))
            self.conditions.append("Decoder: millions of parameters.")
        if not machines:
            return
        batches = _join(sorted(set(self.rows["batch"].dropna())))
        where = machines[0] if len(machines) == 1 else "the machine in each row, unranked"
        self.conditions.append(
            f"Images/s: median ± half the interquartile range, batch {batches}, on {where}. GMAC: "
            "per image, convolutions and matrix products. Memory: peak while decoding."
        )
        if self.rows.loc[self.rows["batch"] > 1, "decode_ms"].notna().any():
            self.conditions.append("Decode ms: latency of a single image.")
        if self.rows["decode_baseline"].any():
            self.conditions.append("Ratio of decoding speeds timed by turns, with 95% intervals.")
        if (self.rows["fidelity_difference"] > 0).any():
            self.conditions.append("Fidelity: PSNR to decoding in float32, uncompiled.")
        if len(machines) > 1:
            own = dict(list(self.rows.groupby("name")))
            texts = [" / ".join(describe_hardware(own[name])) for name in self.names]
            self.table.add("machine", texts, numeric=False)

    def _add(self, group: Group, rows: Mapping[str, Any], measure: Measure) -> list[str]:
        """Add a column of one resolution, or return why it has no value."""
        texts = {name: measure.show(row) for name, row in rows.items()}
        notes = {name: _texts(row["footnotes"], measure.notes) for name, row in rows.items()}
        present = [name for name, text in texts.items() if text != MISSING]
        if not present:
            return sorted(set().union(*notes.values()))
        shared = _shared([notes[name] for name in present])
        best, second, ties = self._rank(group.rows, measure, texts)
        marks = self.table.number(sorted(shared))
        cells = [
            Cell(
                texts.get(name, MISSING),
                best=name in best,
                second=name in second,
                tied=name in ties and name not in best,
                notes=self.table.number(sorted(notes.get(name, shared) - shared)),
            )
            for name in self.names
        ]
        lower = measure.higher_is_better is False
        self.table.columns.append(
            Column(measure.key, measure.heading, cells, marks, lower_is_better=lower)
        )
        return []

    def _rank(
        self, rows: pd.DataFrame, measure: Measure, texts: Mapping[str, str]
    ) -> tuple[set[str], set[str], set[str]]:
        """Find the best, the second best and those tied with the best."""
        higher, column = measure.higher_is_better, measure.values[0]
        comparable = measure.is_score or len(describe_hardware(rows)) == 1
        if higher is None or not comparable:
            return set(), set(), set()
        rows = rows[is_ranked(rows)].set_index("name")
        best, second = best_two(rows[column], texts, higher)
        return best, second, find_ties(rows, column, higher) if best and measure.is_score else set()

    def _headings(self) -> list[str]:
        """Name each group by its size, and by its pixels where one size has several."""
        sizes = Counter(group.size for group in self.groups)
        return [
            group.size + (f" ({_pixels(group)})" if sizes[group.size] > 1 else "")
            for group in self.groups
        ]

    def _caption(self) -> Iterator[str]:
        rows, cells = self.rows, [cell for column in self.table.columns for cell in column.cells]
        first = rows.iloc[0]
        pixels = ", ".join(f"{_pixels(group)} at {group.resolution} px" for group in self.groups)
        words = "seed"
        if (rows["seeds"].map(len) > 1).any():
            words = "seeds" if self.table.kind == "seeds" else "mean over seeds"
        yield (
            f"n = {first['n']} {images_of(first['kind'])} {first['data']} (pixels {pixels}), "
            f"protocol {first['protocol']}, {words} {_join(sorted({*chain(*rows['seeds'])}))}."
        )
        yield from self.conditions
        if any(cell.best for cell in cells):
            yield "Bold: best of its column."
        if any(cell.second for cell in cells):
            yield "Underlined: second best, where three or more are ranked."
        if any(cell.tied for cell in cells):
            yield f"{TIED}: {TIE_RULE}"
        if any(cell.best for cell in cells) and not is_ranked(rows).all():
            yield ELIGIBLE_RULE
        if self.table.kind == "seeds":
            yield "Seeds: least and greatest."
            if any(column.key.endswith("95%") for column in self.table.columns):
                yield "95% of images: intervals over images, averaged over the seeds."


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
