"""Tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ssdd_bench.errors import printable
from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.report.tables.model import TIED, Cell, Column, Table, section_key

# Left out in this order until the rest fits, after metrics that have to be asked for and before
# the others; other formats keep all columns.
_LESS_NEEDED: Final = (
    "memory MB",
    "model GMAC",
    "decode GMAC",
    "latent",
    "per pixel",
    "decoder M",
    "encode img/s",
)
_SPREADS: Final = "spreads"
_GAP: Final = 2
_FOLDED: Final = 4  # part of the width that a column of text needs at least, being folded
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Print tables; columns that do not fit are left out and named below."""
    for table in tables:
        columns, hidden = _fit(table.columns, console.width)
        shown = replace(table, columns=columns)
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
        for column in columns:
            grid.add_column(
                Text("\n".join(_heading_lines(column))),
                justify="right" if column.numeric else "left",
                no_wrap=column.numeric,
                overflow="fold",
            )
        for heading, rows in shown.rows():
            if heading:
                grid.add_row(Text(section_key(heading), "italic dim"))
            for cells in rows:
                grid.add_row(*map(_styled, cells))
        console.print(Text(printable(table.title), "bold"))
        console.print(grid)
        found = [column.notes for column in columns]
        found += [cell.notes for column in columns for cell in column.cells]
        notes = [
            f"{_superscript((mark,))} {table.footnotes[mark - 1]}"  # of columns that are shown
            for mark in sorted({*chain.from_iterable(found)})
        ]
        left_out = [f"Left out here: {', '.join(hidden)}."] if hidden else []
        for text in (shown.caption, *notes, *table.remarks, *left_out):
            console.print(Text(printable(text), "dim"))
        console.print()


def _fit(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """Drop the less needed columns until the rest fits into ``width``.

    Spreads go before scores, and the first score never goes.
    """
    last_first = [column.key for column in columns if column.key in METRICS.all()][::-1]
    extra = [key for key in last_first if METRICS.all()[key].default_for == "none"]
    default = [key for key in last_first[:-1] if key not in extra]
    hidden: list[str] = []
    for key in (*extra, *_LESS_NEEDED, _SPREADS, *default, "steps"):
        if sum(_width(column, width // _FOLDED) + _GAP for column in columns) <= width:
            break
        if key == _SPREADS and any(cell.spread for column in columns for cell in column.cells):
            hidden.append(key)
            columns = [
                replace(column, cells=[replace(cell, spread="") for cell in column.cells])
                for column in columns
            ]
        hidden += [column.key for column in columns if column.key == key]
        columns = [column for column in columns if column.key != key]
    return columns, hidden


def _width(column: Column, most: int) -> int:
    """Count the letters of the widest cell, of text ``most`` at most."""
    widest = max(map(len, [*_heading_lines(column), *map(_plain, column.cells)]))
    return widest if column.numeric else min(widest, most)


def _heading_lines(column: Column) -> list[str]:
    """Break a heading where n, the unit or the arrow begins."""
    heading = column.heading + _superscript(column.notes)
    return heading.replace("@", "\n@").split("\n") if "@" in heading else heading.split(" ", 1)


def _styled(cell: Cell) -> Text:
    return Text(_plain(cell), "bold" if cell.best else "underline" if cell.second else "")


def _plain(cell: Cell) -> str:
    return printable(cell.full) + (TIED if cell.tied else "") + _superscript(cell.notes)


def _superscript(notes: tuple[int, ...]) -> str:
    return ",".join(map(str, notes)).translate(_SUPERSCRIPTS)
