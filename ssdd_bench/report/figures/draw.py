"""The way from a chart to a finished figure, in this process or in another one."""

from __future__ import annotations

from collections.abc import Sequence

from ssdd_bench.report.figures.chart import Chart, Distributions
from ssdd_bench.report.figures.drawing import SUFFIXES, Drawing
from ssdd_bench.report.figures.palette import Palette


def draw(
    chart: Chart | Distributions, palette: Palette, suffixes: Sequence[str] = SUFFIXES
) -> Drawing:
    """Draw a chart and make files of these suffixes; a page needs ``.svg``.

    Matplotlib is imported here, so that a process that has charts drawn elsewhere goes without.
    """
    from ssdd_bench.report.figures.draw_boxes import draw_boxes
    from ssdd_bench.report.figures.draw_panels import draw_panels

    if isinstance(chart, Distributions):
        return draw_boxes(chart, palette).finish(suffixes)
    return draw_panels(chart, palette).finish(suffixes)
