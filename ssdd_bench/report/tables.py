"""One set of tables, printed in a terminal or written as Markdown; and the whole frame as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ssdd_bench.report.grid import TIED, Cell, Column, Table, build_tables

# Left out of a terminal in this order until the rest fits; Markdown and CSV keep them all.
_LESS_NEEDED = ("mae", "mse", "memory MB", "psnr_pooled", "decode GMAC", "steps", "decoder M")
_GAP = 2
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def print_table(frame: pd.DataFrame, console: Console) -> None:
    """Print the tables in a terminal; columns that do not fit are left out and named below."""
    for table in build_tables(frame):
        columns, hidden = _fit(table.columns, console.width)
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
        for column in columns:
            grid.add_column(
                Text("\n".join(_heading_lines(column))),
                justify="right" if column.numeric else "left",
                no_wrap=column.numeric,
                overflow="fold",
            )
        for cells in zip(*(column.cells for column in columns), strict=True):
            grid.add_row(*(Text(_plain(cell), "bold" if cell.best else "") for cell in cells))
        console.print(Text(table.title, "bold"))
        console.print(grid)
        console.print(Text(table.caption, "dim"))
        for number, text in enumerate(table.footnotes, start=1):
            console.print(Text(f"{_superscript((number,))} {text}", "dim"))
        for text in table.remarks:
            console.print(Text(text, "dim"))
        if hidden:
            console.print(Text(f"Columns left out here: {', '.join(hidden)}.", "dim"))
        console.print()


def to_markdown(frame: pd.DataFrame) -> str:
    """Write the tables as GitHub Markdown, with every column."""
    return "\n".join(_markdown_table(table) for table in build_tables(frame))


def to_csv(frame: pd.DataFrame) -> str:
    """Write every column of the frame; footnotes become one column of text."""
    notes = ["; ".join(note.text for note in notes) for notes in frame["footnotes"]]
    plain = frame.drop(columns=["footnotes", "scores"])
    return plain.assign(footnotes=notes).to_csv(index=False)


def _fit(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """Drop the less needed columns until the rest is at most ``width`` characters wide."""
    hidden: list[str] = []
    for key in _LESS_NEEDED:
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


def _plain(cell: Cell) -> str:
    return cell.text + (TIED if cell.tied else "") + _superscript(cell.notes)


def _superscript(notes: tuple[int, ...]) -> str:
    return ",".join(map(str, notes)).translate(_SUPERSCRIPTS)


def markdown_notes(notes: tuple[int, ...]) -> str:
    """Numbers of footnotes."""
    return f"<sup>{','.join(map(str, notes))}</sup>" if notes else ""


def markdown_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown_foot(caption: str, footnotes: Iterable[str], remarks: Sequence[str]) -> Iterator[str]:
    """What stands below a table."""
    yield f"\n{caption}\n"
    for number, text in enumerate(footnotes, start=1):
        yield f"{number}. {text}"
    if remarks:
        yield ""
    for text in remarks:
        yield f"- {text}"


def _markdown_table(table: Table) -> str:
    def cell_text(cell: Cell) -> str:
        text = f"**{cell.text}**" if cell.best else cell.text
        return text + (TIED if cell.tied else "") + markdown_notes(cell.notes)

    def lines() -> Iterator[str]:
        yield f"### {table.title}\n"
        yield markdown_row(
            column.heading + markdown_notes(column.notes) for column in table.columns
        )
        yield markdown_row("---:" if column.numeric else ":---" for column in table.columns)
        for cells in zip(*(column.cells for column in table.columns), strict=True):
            yield markdown_row(cell_text(cell) for cell in cells)
        yield from markdown_foot(table.caption, table.footnotes, table.remarks)

    return "\n".join(lines()).rstrip() + "\n"
