"""The model of a table: cells, columns, headings over both, caption and footnotes as plain text.

Renderers add nothing but the markup of their format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

MISSING: Final = "–"
TIED: Final = "≈"


@dataclass(frozen=True)
class Cell:
    """One formatted value, its rank in the column, and the numbers of its footnotes."""

    text: str
    best: bool = False
    second: bool = False
    tied: bool = False  # the difference from the best is within the noise
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Column:
    """A heading and its values, with the numbers of footnotes that hold for all of them."""

    key: str  # a metric's key, or the heading
    heading: str
    cells: Sequence[Cell]
    notes: tuple[int, ...] = ()
    numeric: bool = True  # aligned to the right
    lower_is_better: bool = False  # direction of sorting


@dataclass
class Table:
    """A table before it has a format."""

    title: str
    caption: str  # conditions that all rows share
    name: str  # of letters, digits and hyphens; unique in a report
    kind: str  # reconstruction, generation, speed, seeds, tags, methods or published
    columns: list[Column] = field(default_factory=list)
    spans: list[tuple[str, int]] = field(default_factory=list)  # headings over so many columns
    sections: list[tuple[str, int]] = field(default_factory=list)  # headings over so many rows
    footnotes: list[str] = field(default_factory=list)  # by number, from 1
    remarks: list[str] = field(default_factory=list)  # about the whole table

    def number(self, texts: Iterable[str]) -> tuple[int, ...]:
        """Return the footnote numbers of these texts, adding those that are new."""
        numbers = set()
        for text in texts:
            if text not in self.footnotes:
                self.footnotes.append(text)
            numbers.add(self.footnotes.index(text) + 1)
        return tuple(sorted(numbers))

    def add(
        self,
        heading: str,
        texts: Iterable[object],
        notes: Iterable[Iterable[str]] = (),
        shared: Iterable[str] = (),
        numeric: bool = True,
        lower_is_better: bool = False,
    ) -> None:
        """Add a column without ranks.

        Args:
            heading: also its key.
            texts: one per row; None and "" become a dash.
            notes: texts of footnotes per row; may be empty.
            shared: texts of footnotes of the whole column.
            numeric: see :class:`Column`.
            lower_is_better: see :class:`Column`.
        """
        marks = self.number(shared)
        rows = [MISSING if text in (None, "") else str(text) for text in texts]
        numbers = [self.number(own) for own in notes] or [()] * len(rows)
        cells = [Cell(text, notes=own) for text, own in zip(rows, numbers, strict=True)]
        self.columns.append(Column(heading, heading, cells, marks, numeric, lower_is_better))

    def lines(self) -> list[list[Cell]]:
        """Return the cells row by row."""
        return [list(cells) for cells in zip(*(c.cells for c in self.columns), strict=True)]

    def rows(self) -> Iterator[tuple[str, list[list[Cell]]]]:
        """Yield every section's heading and its rows of cells."""
        lines = self.lines()
        for heading, count in self.sections or [("", len(lines))]:
            yield heading, lines[:count]
            lines = lines[count:]

    def span_of_columns(self) -> list[str]:
        """Return the heading above each column; "" for none."""
        spans = [heading for heading, count in self.spans for _ in range(count)]
        return spans or [""] * len(self.columns)


def name_of(*parts: object) -> str:
    """Join parts to a name of lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower())
