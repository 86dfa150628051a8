"""Figures for notebooks: ``ssdd_bench.plot.pareto(ssdd_bench.load_results("results/"))``."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ssdd_bench.errors import UserError
from ssdd_bench.report.figures.curves import speed_panels
from ssdd_bench.report.figures.draw_panels import draw_marks, prepare_axes
from ssdd_bench.report.figures.palette import Palette
from ssdd_bench.report.frame import check_metric, default_metric
from ssdd_bench.report.ranking import is_baseline


def pareto(
    df: pd.DataFrame,
    metric: str | None = None,
    resolution: int | None = None,
    ax: Axes | None = None,
    f: int | None = None,
) -> Axes:
    """Draw quality against decode speed, with the front of tokenizers that no other beats.

    Args:
        df: from :func:`ssdd_bench.load_results`, filtered or not.
        metric: a metric's column; by default the first with values.
        resolution: in pixels; by default the smallest with a timing.
        ax: where to draw; by default new axes of :mod:`matplotlib.pyplot`.
        f: compression rate; by default that of most rows.

    Returns:
        The axes, labelled and titled.

    Raises:
        UserError: the metric is unknown, no row has both it and a timing, or rows of several
            protocols, sets of images or machines are left, which do not compare.
    """
    metric = metric or default_metric(df) or ""
    check_metric(df, metric)
    rows = df[df[metric].notna() & (df["decode_ips"] > 0)]
    rows = rows[~is_baseline(rows)]
    rows = rows[rows["kind"] == rows["kind"].max()]  # reconstructions where there are any
    rows = rows[rows["resolution"] == (resolution or rows["resolution"].min())]
    rows = rows[rows["f"] == (f or rows["f"].mode().min())]
    panels = list(speed_panels(rows, metric))
    if not panels:
        raise UserError(
            f"no row has both {metric} and a decode timing at resolution={resolution}, f={f}"
        )
    if len(panels) > 1:
        raise UserError(
            f"{len(panels)} groups of rows do not compare: filter the frame by protocol, data or "
            "device first"
        )
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")[1]
    prepare_axes(ax, panels[0], panels[0].conditions)
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes without a figure"
    figure.draw_without_rendering()  # labels need the axes' final place
    draw_marks(ax, panels[0], Palette.of(df))
    return ax
