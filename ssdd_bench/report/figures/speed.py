"""Figures of quality against decode speed, of reconstructions and of generated images."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ssdd_bench.report.figures.draw import draw_panels
from ssdd_bench.report.figures.marks import make_marks, panel_title, remark_of, short_names
from ssdd_bench.report.figures.panel import Panel
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.frame import check_metric, metric_directions
from ssdd_bench.report.groups import comparable_groups, split
from ssdd_bench.report.ranking import is_baseline
from ssdd_bench.report.seeds import pool_seeds
from ssdd_bench.report.tables.numbers import metric_heading

_WORDS = {"reconstruction": "quality", "generation": "generation"}


def draw_speed(
    frame: pd.DataFrame, metric: str, palette: Palette, kind: str = "reconstruction"
) -> Drawing | None:
    """Draw quality against decode images/s, one panel per resolution, compression rate and machine.

    Args:
        frame: from :func:`ssdd_bench.report.frame.to_frame`.
        metric: a metric column.
        palette: colours of the report.
        kind: "reconstruction" or "generation".

    Returns:
        The drawing, or None if no row has both the metric and a timing.

    Raises:
        UserError: the metric is unknown.
    """
    panels = list(speed_panels(frame[frame["kind"] == kind], metric))
    if not panels:
        return None
    name = f"{_WORDS[kind]}-vs-speed"
    title = f"{kind.capitalize()} quality and decode speed"
    return draw_panels(name, title, panels, palette, key=f"{name}-{metric}")


def speed_panels(frame: pd.DataFrame, metric: str) -> Iterator[Panel]:
    """Lay out the rows that have a score and a timing, without baselines beside tokenizers.

    Codecs would push what is compared into a corner; the figures of compression rates have them.

    Raises:
        UserError: the metric is unknown.
    """
    check_metric(frame, metric)
    higher = metric_directions(frame)[metric]
    for group in comparable_groups(pool_seeds(frame)):
        rows = group.rows[group.rows[metric].notna() & (group.rows["decode_ips"] > 0)]
        rows = rows[~is_baseline(rows)].sort_values("f", kind="stable")
        for mine in split(rows, ["device", "threads", "dtype", "f"]):
            names = short_names(mine)
            yield Panel(
                make_marks(mine, "decode_ips", metric, _labels(mine, names), names, errors=True),
                panel_title(mine),
                remark_of(mine, timed=True),
                "decode images/s (log)",
                metric_heading(metric, higher, group.n),
                higher,
                front=True,
            )


def _labels(rows: pd.DataFrame, names: pd.Series[str]) -> pd.Series[str]:
    """Label each network once, and the other marks of its path by their decoder steps."""
    steps = rows["steps"].groupby(names)
    most, several = steps.transform("max"), steps.transform("nunique") > 1
    full = (names + ", " + rows["steps"].astype(str) + " steps").where(several, names)
    return full.where(~several | (rows["steps"] == most), rows["steps"].astype(str))
