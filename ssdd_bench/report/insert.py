"""A short table of results, inserted into a page such as a README."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.report.groups import comparable_groups
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.markdown import markdown_grid
from ssdd_bench.report.tables.model import MISSING
from ssdd_bench.results.files import write_text

START: Final = "<!-- results: the lines below are written by ssdd-bench report --insert -->"
END: Final = "<!-- /results -->"
COLUMNS: Final = ("psnr", "ssim", "lpips_alex", "rfid", "fd_effnet", "decode img/s")


def short_table(frame: pd.DataFrame) -> str:
    """Write the main scores of reconstructions as one Markdown table, a row per result.

    Notes are left out: the tables of the report have them.
    """
    frame = frame[frame["kind"] == "reconstruction"]
    several = frame["protocol"].nunique() > 1
    numeric = {"tokenizer": False}
    rows: list[dict[str, str]] = []
    tables = [table for table in build_tables(frame) if table.kind == "reconstruction"]
    for group, table in zip(comparable_groups(frame), tables, strict=True):
        shown = [column for column in table.columns if column.key in COLUMNS]
        shown.sort(key=lambda column: COLUMNS.index(column.key))
        setting = {"px": str(group.resolution)} | ({"protocol": group.protocol} if several else {})
        numeric |= {"px": True, "protocol": False} | {c.heading: c.numeric for c in shown}
        for name, *cells in zip(table.columns[0].cells, *(c.cells for c in shown), strict=True):
            scores = {c.heading: cell.text for c, cell in zip(shown, cells, strict=True)}
            rows.append({"tokenizer": name.text} | setting | scores)
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    texts = ([row.get(heading, MISSING) for heading in headings] for row in rows)
    return "\n".join(markdown_grid(headings, (numeric[one] for one in headings), texts))


def insert(page: str, table: str, name: str) -> str:
    """Replace the text between the two comments of the page of this name by a table.

    Raises:
        UserError: the page has no such comments, or not once each and in order.
    """
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in before + after:
        raise UserError(f"{name} needs two lines, once each, around its table: {START} and {END}")
    return f"{before}{START}\n\n{table}\n\n{END}{after}"


def insert_into(path: Path, frame: pd.DataFrame) -> Path:
    """Update the table of a page.

    Raises:
        UserError: as :func:`insert`, or the page cannot be read.
        OutputError: it cannot be written.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return write_text(path, insert(page, short_table(frame), str(path)))
