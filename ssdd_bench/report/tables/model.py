"""The model of a table: cells, columns, headings of sections, caption and footnotes as plain text.

Renderers add nothing but the markup of their format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MISSING: Final = "–"
TIED: Final = "≈"


@dataclass(frozen=True)
class Cell:
    """One formatted value, its rank in the column, and the numbers of its footnotes.

    Attributes:
        text: the value; formats with room add ``spread`` after it, and the page shows it on hover.
        spread: "±0.14" of a speed, "(1.1 to 1.3)" of a ratio.
        hint: interval and rank in words, for those who point at the cell.
    """

    text: str
    spread: str = ""
    hint: str = ""
    best: bool = False
    second: bool = False
    tied: bool = False  # not significantly different from the best
    notes: tuple[int, ...] = ()

    @property
    def full(self) -> str:
        """Value and spread."""
        return f"{self.text} {self.spread}".rstrip()


@dataclass(frozen=True)
class Column:
    """A heading and its values, with the numbers of footnotes that hold for all of them."""

    key: str  # a metric's key, or the heading
    heading: str
    cells: Sequence[Cell]
    notes: tuple[int, ...] = ()
    numeric: bool = True  # aligned to the right
    lower_is_better: bool = False  # direction of sorting
    main: bool = True  # shown where there is no room for all
    hint: str = ""  # meaning of the heading, for those who point at it
    explanations: tuple[str, ...] = ()  # sentences for the caption
    spread: str = ""  # another one, on the spreads of the cells


@dataclass
class Table:
    """A table before it has a format."""

    title: str
    conditions: str  # that all rows share
    name: str  # of letters, digits and hyphens; unique in a report
    kind: str  # reconstruction, generation, seeds, tags, methods or published
    columns: list[Column] = field(default_factory=list)
    indices: list[Any] = field(default_factory=list)  # rows of the frame, if it is made of one
    sections: list[tuple[str, int]] = field(default_factory=list)  # headings over so many rows
    footnotes: list[str] = field(default_factory=list)  # by number, from 1
    remarks: list[str] = field(default_factory=list)  # about the whole table

    @property
    def caption(self) -> str:
        """Conditions, and explanations of the columns that are in the table."""
        return " ".join(filter(None, (self.conditions, *self.explanations())))

    def explanations(self, spreads: bool = True) -> dict[str, list[str]]:
        """Return the sentences that explain columns, each with the keys of its columns.

        Args:
            spreads: False for a format that does not write the spreads of cells.
        """
        found: dict[str, list[str]] = {}
        for column in self.columns:
            spread = spreads and any(cell.spread for cell in column.cells)
            for text in (*column.explanations, column.spread if spread else ""):
                if text:
                    found.setdefault(text, []).append(column.key)
        return found

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
        hints: Iterable[str] = (),
        numeric: bool = True,
        lower_is_better: bool = False,
        main: bool = True,
        explanation: str = "",
    ) -> None:
        """Add a column without ranks.

        Args:
            heading: also its key.
            texts: one per row; None and "" become a dash.
            notes: texts of footnotes per row; may be empty.
            shared: texts of footnotes of the whole column.
            hints: per row; may be empty.
            numeric: see :class:`Column`.
            lower_is_better: see :class:`Column`.
            main: see :class:`Column`.
            explanation: for the caption.
        """
        marks = self.number(shared)
        rows = [MISSING if text in (None, "") else str(text) for text in texts]
        numbers = [self.number(own) for own in notes] or [()] * len(rows)
        tips = list(hints) or [""] * len(rows)
        cells = [
            Cell(text, hint=tip, notes=own)
            for text, tip, own in zip(rows, tips, numbers, strict=True)
        ]
        explanations = (explanation,) if explanation else ()
        self.columns.append(
            Column(
                *(heading, heading, cells, marks, numeric, lower_is_better, main),
                explanations=explanations,
            )
        )

    def lines(self) -> list[list[Cell]]:
        """Return the cells row by row."""
        return [list(cells) for cells in zip(*(c.cells for c in self.columns), strict=True)]

    def rows(self) -> Iterator[tuple[str, list[list[Cell]]]]:
        """Yield every section's heading and its rows of cells."""
        lines = self.lines()
        for heading, count in self.sections or [("", len(lines))]:
            yield heading, lines[:count]
            lines = lines[count:]


def name_of(*parts: object) -> str:
    """Join parts to a name of lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower())


def section_key(heading: str) -> str:
    """Shorten the heading of a section to the part before its colon: "f8c4"."""
    return heading.partition(":")[0]
