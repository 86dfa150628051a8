"""Figures for notebooks: ``ssdd_bench.plot.pareto(ssdd_bench.load_results("results/"))``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def pareto(
    df: pd.DataFrame,
    metric: str | None = None,
    resolution: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw quality against decode speed, with the front of tokenizers that no other beats.

    Args:
        df: from :func:`ssdd_bench.load_results`, filtered or not.
        metric: a metric's column; by default the first with values.
        resolution: in pixels; by default the smallest with a timing.
        ax: where to draw; by default new axes of :mod:`matplotlib.pyplot`.

    Returns:
        The axes, labelled and titled.

    Raises:
        UserError: the metric is unknown, no row has both it and a timing, or rows of several
            protocols, sets of images or machines are left, which do not compare.
    """
    from ssdd_bench.errors import UserError
    from ssdd_bench.report.canvas import styles_of
    from ssdd_bench.report.frame import check_metric, default_metric, metric_directions
    from ssdd_bench.report.labels import place_labels
    from ssdd_bench.report.plots import draw_panel, speed_panels

    directions = metric_directions(df)
    metric = metric or default_metric(df) or ""
    check_metric(df, metric)
    panels = list(speed_panels(df, metric))
    if resolution is None and panels:
        resolution = min(panel.resolution for panel in panels)
    panels = [panel for panel in panels if panel.resolution == resolution]
    if not panels:
        raise UserError(f"no row has both {metric} and a decode timing at {resolution} px")
    if len(panels) > 1:
        raise UserError(
            f"{len(panels)} groups at {resolution} px do not compare: filter the frame by "
            "protocol, data or device first"
        )
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6.4, 5.0), layout="constrained")[1]
    styles = styles_of(list(dict.fromkeys(df["id"])))
    points = draw_panel(ax, panels[0], metric, directions[metric], styles)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # labels need the axes' final place
    place_labels(ax, points)
    return ax
