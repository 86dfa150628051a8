"""A short table of results in a page that somebody writes by hand, such as a README."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.report.grid import MISSING, build_tables
from ssdd_bench.report.groups import comparable_groups
from ssdd_bench.report.tables import markdown_row
from ssdd_bench.results.files import write_atomically

START: Final = "<!-- results: the lines below are written by ssdd-bench report --insert -->"
END: Final = "<!-- /results -->"
COLUMNS: Final = ("psnr", "ssim", "lpips_alex", "rfid", "fd_effnet", "decode img/s")


def short_table(frame: pd.DataFrame) -> str:
    """Write the main scores of reconstructions as one Markdown table, a row per cell.

    Notes are left out: the tables of the report have them.
    """
    frame = frame[frame["kind"] == "reconstruction"]
    several = frame["protocol"].nunique() > 1
    rows: list[dict[str, str]] = []
    for group, table in zip(comparable_groups(frame), build_tables(frame), strict=True):
        columns = {column.key: column for column in table.columns}
        for index, cell in enumerate(columns["tokenizer"].cells):
            row = {"tokenizer": cell.text, "px": str(group.resolution)}
            if several:
                row["protocol"] = group.protocol
            shown = [columns[key] for key in COLUMNS if key in columns]
            rows.append(row | {column.heading: column.cells[index].text for column in shown})
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    words = ("tokenizer", "protocol")
    lines = [
        markdown_row(headings),
        markdown_row("---" if heading in words else "---:" for heading in headings),
        *(markdown_row(row.get(heading, MISSING) for heading in headings) for row in rows),
    ]
    return "\n".join(lines)


def insert(page: str, table: str, name: str) -> str:
    """Put a table between the two comments of a page, in place of what stands there.

    Args:
        page: all its text.
        table: Markdown.
        name: of the page, for messages.

    Raises:
        UserError: the page has no such comments, or not once each and in order.
    """
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in before + after:
        raise UserError(f"{name} needs two lines, once each, around its table: {START} and {END}")
    return f"{before}{START}\n\n{table}\n\n{END}{after}"


def insert_into(path: Path, frame: pd.DataFrame) -> Path:
    """Bring the table of a page up to date.

    Raises:
        UserError: as :func:`insert`, or the page cannot be read.
        OutputError: it cannot be written.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    text = insert(page, short_table(frame), str(path))
    write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
    return path
