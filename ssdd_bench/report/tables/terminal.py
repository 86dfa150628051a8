"""Tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
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
_LESS_NEEDED: Final = ("memory MB", "model GMAC", "decode GMAC", "latent", "decoder M")
_GAP: Final = 2
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Print tables; columns that do not fit are left out and named below."""
    for table in tables:
        columns, hidden = _fit(table.columns, console.width)
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
        for column in columns:
            grid.add_column(
                Text("\n".join(_heading_lines(column))),
                justify="right" if column.numeric else "left",
                no_wrap=column.numeric,
                overflow="fold",
            )
        lines = iter(list(zip(*(column.cells for column in columns), strict=True)))
        for heading, count in table.sections or [("", len(table.lines()))]:
            if heading:
                grid.add_row(Text(section_key(heading), "italic dim"))
            for cells in islice(lines, count):
                grid.add_row(*map(_styled, cells))
        console.print(Text(printable(table.title), "bold"))
        console.print(grid)
        notes = [f"{_superscript((i,))} {text}" for i, text in enumerate(table.footnotes, start=1)]
        left_out = [f"Columns left out here: {', '.join(hidden)}."] if hidden else []
        for text in (table.caption, *notes, *table.remarks, *left_out):
            console.print(Text(printable(text), "dim"))
        console.print()


def _fit(columns: Sequence[Column], width: int) -> tuple[Sequence[Column], list[str]]:
    """Drop the less needed columns until the rest is at most ``width`` characters wide."""
    last_first = list(METRICS.all().items())[::-1]
    extra = [key for key, info in last_first if info.default_for == "none"]
    default = [key for key, info in last_first if info.default_for != "none"]
    hidden: list[str] = []
    for key in (*extra, *_LESS_NEEDED, *default, "steps"):
        if sum(_width(column) + _GAP for column in columns) <= width:
            break
        hidden += [column.key for column in columns if column.key == key]
        columns = [column for column in columns if column.key != key]
    return columns, hidden


def _width(column: Column) -> int:
    return max(map(len, [*_heading_lines(column), *map(_plain, column.cells)]))


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
