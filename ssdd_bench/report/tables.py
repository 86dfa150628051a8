"""One set of tables, printed in a terminal or written as Markdown; and the whole frame as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from ssdd_bench.report.grid import Cell, Table, build_tables

_WIDE_ONLY = ("psnr_pooled", "mse", "mae", "memory MB")  # left out of a terminal
_SUPERSCRIPTS = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹˒")


def print_table(frame: pd.DataFrame, console: Console) -> None:
    """Print the tables in a terminal, with the columns that fit 120 characters."""
    for table in build_tables(frame):
        grid = RichTable(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            title=escape(table.title),
            title_style="bold",
            title_justify="left",
            caption=escape(table.caption),
            caption_justify="left",
            caption_style="dim",
        )
        columns = [column for column in table.columns if column.key not in _WIDE_ONLY]
        for column in columns:
            grid.add_column(
                escape(column.heading.replace(" ", "\n", 1)) + _superscript(column.notes),
                justify="right" if column.numeric else "left",
                no_wrap=column.numeric,
                overflow="fold",
            )
        for cells in zip(*(column.cells for column in columns), strict=True):
            grid.add_row(
                *(
                    Text(cell.text, "bold" if cell.best else "") + _superscript(cell.notes)
                    for cell in cells
                )
            )
        console.print(grid)
        for number, text in enumerate(table.footnotes, start=1):
            console.print(f"{_superscript((number,))} {text}", style="dim", markup=False)
        console.print()


def to_markdown(frame: pd.DataFrame) -> str:
    """Write the tables as GitHub Markdown, with every column."""
    return "\n".join(_markdown_table(table) for table in build_tables(frame))


def to_csv(frame: pd.DataFrame) -> str:
    """Write every column of the frame; footnotes become one column of text."""
    notes = ["; ".join(note.text for note in notes) for notes in frame["footnotes"]]
    return frame.drop(columns="footnotes").assign(footnotes=notes).to_csv(index=False)


def _superscript(notes: tuple[int, ...]) -> str:
    return ",".join(map(str, notes)).translate(_SUPERSCRIPTS)


def _markdown_table(table: Table) -> str:
    def mark(notes: tuple[int, ...]) -> str:
        return f"<sup>{','.join(map(str, notes))}</sup>" if notes else ""

    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def cell_text(cell: Cell) -> str:
        return (f"**{cell.text}**" if cell.best else cell.text) + mark(cell.notes)

    def lines() -> Iterator[str]:
        yield f"### {table.title}\n"
        yield row(column.heading + mark(column.notes) for column in table.columns)
        yield row("---:" if column.numeric else ":---" for column in table.columns)
        for cells in zip(*(column.cells for column in table.columns), strict=True):
            yield row(cell_text(cell) for cell in cells)
        yield f"\n{table.caption}\n"
        for number, text in enumerate(table.footnotes, start=1):
            yield (
                f"{mark((number,))} {text}\\"
                if number < len(table.footnotes)
                else (f"{mark((number,))} {text}")
            )

    return "\n".join(lines()).rstrip() + "\n"
