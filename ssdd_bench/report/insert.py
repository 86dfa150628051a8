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
COLUMNS: Final = (
    *("tokenizer", "steps", "rfid", "lpips_alex", "psnr", "ssim", "fd_effnet"),
    *("decode img/s", "decoder M"),
)


def short_table(frame: pd.DataFrame) -> str:
    """Write the main scores of reconstructions as one Markdown table, a row per result.

    Notes are left out: the tables of the report have them.
    """
    frame = frame[frame["kind"] == "reconstruction"]
    several = frame["protocol"].nunique() > 1
    tables = [table for table in build_tables(frame) if table.kind == "reconstruction"]
    parts = []
    for group, table in zip(comparable_groups(frame), tables, strict=True):
        columns = {column.key: column for column in table.columns}
        shown = [columns[key] for key in COLUMNS if key in columns]
        part = pd.DataFrame({one.heading: [cell.full for cell in one.cells] for one in shown})
        part.insert(1, "px", str(group.resolution))
        if several:
            part.insert(2, "protocol", group.protocol)
        parts.append(part)
    whole = pd.concat(parts).fillna(MISSING)
    numeric = [heading not in ("tokenizer", "protocol") for heading in whole]
    return "\n".join(markdown_grid(map(str, whole), numeric, whole.itertuples(index=False)))


def insert_into(path: Path, frame: pd.DataFrame) -> Path:
    """Replace the text between the two comments of a page by the table.

    Raises:
        UserError: the page cannot be read, or has no such comments, once each and in order.
        OutputError: it cannot be written.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in before + after:
        raise UserError(f"{path} needs two lines, once each, around its table: {START} and {END}")
    return write_text(path, f"{before}{START}\n\n{short_table(frame)}\n\n{END}{after}")
