"""Tables as GitHub Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ssdd_bench.errors import one_line
from ssdd_bench.report.tables.model import TIED, Cell, Table


def to_markdown(tables: Iterable[Table]) -> str:
    """Write tables as GitHub Markdown."""
    return "\n".join("\n".join(_lines(table)).rstrip() + "\n" for table in tables)


def markdown_grid(
    headings: Iterable[str], numeric: Iterable[bool], rows: Iterable[Iterable[str]]
) -> Iterator[str]:
    """Yield the lines of a bare table, bars escaped and numeric columns aligned to the right."""
    yield _row(headings)
    yield _row("---:" if right else ":---" for right in numeric)
    yield from map(_row, rows)


def _lines(table: Table) -> Iterator[str]:
    yield f"### {escape(table.title)}\n"
    headings = (escape(column.heading) + _marks(column.notes) for column in table.columns)
    body: list[list[str]] = []
    for heading, rows in table.rows():
        if heading:
            body.append([f"*{escape(heading)}*", *[""] * (len(table.columns) - 1)])
        body += [list(map(_cell, cells)) for cells in rows]
    yield from markdown_grid(headings, (column.numeric for column in table.columns), body)
    yield f"\n{escape(table.caption)}\n"
    for number, text in enumerate(table.footnotes, start=1):
        yield f"{number}. {escape(text)}"
    if table.remarks:
        yield ""
    for text in table.remarks:
        yield f"- {escape(text)}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def escape(text: str) -> str:
    """Escape what would be HTML, and join lines; a greater-than sign alone is no HTML."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;")


def _marks(notes: tuple[int, ...]) -> str:
    return f"<sup>{','.join(map(str, notes))}</sup>" if notes else ""


def _cell(cell: Cell) -> str:
    full = escape(cell.full)
    text = f"**{full}**" if cell.best else full
    text = f"<ins>{text}</ins>" if cell.second else text
    return text + (TIED if cell.tied else "") + _marks(cell.notes)
