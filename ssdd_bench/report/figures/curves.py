"""Figures of how quality and speed change with compression rate, decoder steps and resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from ssdd_bench.report.figures.draw import draw_panels
from ssdd_bench.report.figures.marks import make_marks, panel_title, remark_of, short_names
from ssdd_bench.report.figures.panel import Panel
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import comparable_groups, split
from ssdd_bench.report.ranking import is_eligible
from ssdd_bench.report.tables.numbers import metric_heading, metric_name

_RATES: Final = {"floats_per_pixel": "floats per pixel", "bits_per_pixel": "bits per pixel"}
_SAME_IMAGES: Final = ["protocol", "data", "n"]


def draw_rates(frame: pd.DataFrame, metrics: Sequence[str], palette: Palette) -> Drawing | None:
    """Draw quality against the size of the latent, in floats or bits per pixel, never on one axis.

    Returns:
        The drawing, or None if no two rows have different rates of one kind.
    """
    panels = [
        panel
        for group in comparable_groups(_eligible_reconstructions(frame))
        for metric in metrics
        for column in _RATES
        for panel in _rate_panel(_known(group.rows, column, metric), column, metric)
    ]
    return _draw("quality-vs-rate", "Reconstruction quality and compression rate", panels, palette)


def draw_steps(frame: pd.DataFrame, metrics: Sequence[str], palette: Palette) -> Drawing | None:
    """Draw quality against decoder steps, one panel per resolution and compression rate.

    Returns:
        The drawing, or None if no network was measured with two numbers of steps.
    """
    panels = [
        panel
        for group in comparable_groups(_eligible_reconstructions(frame))
        for metric in metrics
        for _, rows in _known(group.rows, "steps", metric).groupby("f")
        for panel in _step_panel(rows, metric)
    ]
    return _draw("quality-vs-steps", "Reconstruction quality and decoder steps", panels, palette)


def draw_resolutions(
    frame: pd.DataFrame, metrics: Sequence[str], palette: Palette
) -> Drawing | None:
    """Draw quality against resolution, one line per tokenizer measured at two or more.

    Returns:
        The drawing, or None if no tokenizer has two resolutions.
    """
    panels = [
        _resolution_panel(lines, metric, metric_name(metric), remark_of(lines))
        for rows in split(_eligible_reconstructions(frame), _SAME_IMAGES)
        for metric in metrics
        if not (lines := _over_resolutions(rows, metric)).empty
    ]
    return _draw("quality-vs-resolution", "Reconstruction quality and resolution", panels, palette)


def draw_speeds(frame: pd.DataFrame, palette: Palette) -> Drawing | None:
    """Draw decoding and encoding speed against resolution, one pair of panels per machine.

    Returns:
        The drawing, or None if no machine has two resolutions.
    """
    panels = [
        _resolution_panel(lines, f"{way}_ips", title, remark_of(lines, timed=True))
        for rows in split(
            _eligible_reconstructions(frame), [*_SAME_IMAGES, "device", "threads", "dtype"]
        )
        for way, title in (("decode", "Decoding"), ("encode", "Encoding"))
        if not (lines := _over_resolutions(rows, f"{way}_ips")).empty
    ]
    return _draw("speed-scaling", "Speed and resolution", panels, palette)


def _draw(name: str, title: str, panels: Sequence[Panel], palette: Palette) -> Drawing | None:
    return draw_panels(name, title, panels, palette) if panels else None


def _eligible_reconstructions(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["kind"] == "reconstruction") & is_eligible(frame)]


def _known(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return rows[rows[list(columns)].notna().all(axis=1)]


def _over_resolutions(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Keep the tokenizers that have more than one resolution: one alone is no line."""
    rows = _known(rows, column)
    return rows[rows.groupby("label")["resolution"].transform("nunique") > 1]


def _rate_panel(rows: pd.DataFrame, column: str, metric: str) -> Iterator[Panel]:
    """Join one family's rows of equal steps, and label each family once, at its best row."""
    if rows[column].nunique() < 2:
        return
    higher = metric_directions(rows)[metric]
    steps = rows["steps"].astype(str).where(rows["steps"].notna(), "")
    best = rows.sort_values([column, metric], ascending=[False, not higher])
    first = ~best["id"].duplicated().reindex(rows.index)
    yield Panel(
        make_marks(rows, column, metric, rows["id"].where(first, ""), rows["id"] + " " + steps),
        panel_title(rows, rate=False),
        remark_of(rows),
        f"{_RATES[column]} (log)",
        metric_heading(metric, higher, int(rows["n"].iloc[0])),
        higher,
    )


def _step_panel(rows: pd.DataFrame, metric: str) -> Iterator[Panel]:
    names = short_names(rows)
    if rows["steps"].groupby(names).nunique().max() < 2:
        return
    last = rows.index == rows["steps"].astype(float).groupby(names).transform("idxmax")
    yield Panel(
        make_marks(rows, "steps", metric, names.where(last, ""), names),
        panel_title(rows),
        remark_of(rows),
        "decoder steps",
        metric_heading(metric, metric_directions(rows)[metric], int(rows["n"].iloc[0])),
        metric_directions(rows)[metric],
        ticks=True,
    )


def _resolution_panel(rows: pd.DataFrame, column: str, title: str, remark: str) -> Panel:
    """Draw one line per tokenizer, labelled at its end."""
    speed = column.endswith("_ips")
    higher = speed or metric_directions(rows)[column]
    last = rows.index == rows["resolution"].groupby(rows["label"]).transform("idxmax")
    return Panel(
        make_marks(rows, "resolution", column, rows["label"].where(last, ""), rows["label"]),
        title,
        remark,
        "resolution, px",
        "images/s" if speed else metric_heading(column, higher, int(rows["n"].iloc[0])),
        higher,
        ticks=True,
        ends=True,
        log_y=speed,
    )
