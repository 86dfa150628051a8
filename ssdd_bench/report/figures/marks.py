"""Rows of the frame as marks: their names, hover texts, intervals and titles of panels."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ssdd_bench.report.figures.panel import Mark
from ssdd_bench.report.figures.style import RATE_MARKERS
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import describe_hardware
from ssdd_bench.report.ranking import is_eligible
from ssdd_bench.report.tables.numbers import NEGLIGIBLE, format_metric, format_short, metric_name


def make_marks(
    rows: pd.DataFrame,
    x: str,
    y: str,
    labels: pd.Series[str],
    lines: pd.Series[str],
    *,
    errors: bool = False,
) -> tuple[Mark, ...]:
    """Make a mark of each row, with its interval and its hover text.

    Args:
        rows: with both values.
        x: column.
        y: column.
        labels: text beside the marks, one a row.
        lines: marks of one value are joined, one a row.
        errors: add bars of quartiles of speeds and 95% intervals of scores, where known.
    """
    metrics = [key for key in metric_directions(rows) if rows[key].notna().any()]
    return tuple(
        Mark(
            x=float(row[x]),
            y=0.0 if abs(row[y]) < NEGLIGIBLE else float(row[y]),
            family=row["id"],
            marker=RATE_MARKERS.get(0 if pd.isna(row["f"]) else int(row["f"]), "p"),
            label=label,
            tip=_describe(row, metrics),
            line=line,
            x_range=_range(row, x) if errors else None,
            y_range=_range(row, y) if errors else None,
            eligible=may,
        )
        for (_, row), label, line, may in zip(
            rows.iterrows(), labels, lines, is_eligible(rows), strict=True
        )
    )


def short_names(rows: pd.DataFrame) -> pd.Series[str]:
    """Name the networks of a panel of one compression rate, without what all rows share.

    Returns:
        By index: the tokenizer without steps and f, then the model of latents, sampler and
        guidance where the rows differ in them.
    """
    names = pd.Series(
        [
            network.partition(f" + {model}")[0] if model else network
            for network, model in zip(rows["network"], rows["model"], strict=True)
        ],
        rows.index,
    )
    names = names.str.replace(r"(?<=[:,])f=\d+(,|$)", "", regex=True).str.rstrip(":,")
    for column, form in (("model", "{}"), ("sampler", "{}"), ("guidance", "cfg {}")):
        if rows[column].nunique(dropna=False) > 1:
            shown = rows[column].map(lambda value, form=form: ", " + form.format(value))
            names = names + shown.where(rows[column].astype(str) != "1", "")
    return names


def panel_title(rows: pd.DataFrame, *, rate: bool = True) -> str:
    """Name a panel by what all its rows share: resolution and compression rate."""
    first = rows.iloc[0]
    known = rate and not pd.isna(first["f"]) and first["f"] > 1
    return f"{first['resolution']} px" + (f", f{first['f']}" if known else "")


def remark_of(rows: pd.DataFrame, *, timed: bool = False) -> str:
    """Write which images were measured how, and on which machine if speeds are shown."""
    first = rows.iloc[0]
    images = f"{first['n']} images" if first["kind"] == "reconstruction" else "generated images"
    lines = [f"{images} ({first['data']}), protocol {first['protocol']}"]
    if timed:
        batches = ", ".join(str(batch) for batch in sorted(set(rows["batch"].dropna())))
        lines.append(f"{describe_hardware(rows)[0]}, batch {batches}")
    return "\n".join(lines)


def _describe(row: Any, metrics: list[str]) -> str:
    """Write the hover text of a row: label, scores and speeds."""
    lines = [f"{row['label']}, {row['resolution']} px"]
    for key in metrics:
        if not pd.isna(row[key]):
            ends = _range(row, key)
            low, high = (format_metric(key, end) for end in ends or (0.0, 0.0))
            span = f" ({low} to {high})" if ends else ""
            lines.append(f"{metric_name(key)} {format_metric(key, row[key])}{span}")
    for way in ("encode", "decode"):
        if row[f"{way}_ips"] > 0:
            lines.append(f"{way} {format_short(row[f'{way}_ips'])} images/s")
    return "\n".join(lines)


def _range(row: Any, column: str) -> tuple[float, float] | None:
    """Return the quartiles of a speed or the 95% interval of a score, if known."""
    names = ("_q1", "_q3") if column.endswith("_ips") else ("_low", "_high")
    ends = [float(row.get(column + end, math.nan)) for end in names]
    return (ends[0], ends[1]) if all(map(math.isfinite, ends)) else None
