"""Labels beside marks, placed by textalloc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import STEP_LOOKUP_MAP

from ssdd_bench.report.figures.panel import Mark

_SIZE: Final = 8.0  # points
_CLEARANCE: Final = 4.5  # points that labels keep from the centre of a mark


def place_labels(axes: Axes, marks: Sequence[Mark], *, ends: bool = False) -> list[list[Any]]:
    """Put labels where they cover no mark, line or text, by textalloc's greedy search.

    The search has no random part, so equal figures have equal labels. Sizes are given in pixels,
    since textalloc's relative distances stretch with the shape of the figure. Limits, scales and
    place of the axes must be final.

    Returns:
        The text of each labelled mark, and the line that leads to it if it is far away.
    """
    import textalloc

    allocate: Any = textalloc.allocate  # its annotations forbid None and say nothing of artists
    labelled = [mark for mark in marks if mark.label]
    if not labelled:
        return []
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes without a figure"
    clearance = _CLEARANCE * figure.dpi / 72
    obstacles = [(mark.x, mark.y, clearance) for mark in marks] + _text_obstacles(axes)
    lines = [
        STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_data())
        for line in axes.get_lines()
        if line.get_linestyle() != "None"
    ]
    xs, ys, sizes = (list(values) for values in zip(*obstacles, strict=True))
    _, _, texts, leaders = allocate(
        axes,
        [mark.x for mark in labelled],
        [mark.y for mark in labelled],
        [mark.label for mark in labelled],
        x_scatter=xs,
        y_scatter=ys,
        scatter_sizes=sizes,
        text_scatter_sizes=[clearance] * len(labelled),
        x_lines=[np.asarray(x, float) for x, _ in lines],
        y_lines=[np.asarray(y, float) for _, y in lines],
        textsize=_SIZE,
        direction=["east", "northeast", "southeast"] if ends else None,
        margin=0.001,
        min_distance=0.002,
        max_distance=0.25,
        linecolor="0.6",
        linewidth=0.6,
        zorder=5,
        parse_math=False,
    )
    found = [[text] for text in texts]
    for artists, leader in zip(found, leaders, strict=True):
        if leader is not None:
            tips = axes.transData.transform(np.column_stack(leader.get_data()))
            if np.hypot(*(tips[1] - tips[0])) < 2.5 * clearance:
                leader.remove()
            else:
                artists.append(leader)
    return found


def _text_obstacles(axes: Axes) -> list[tuple[float, float, float]]:
    """Cover the texts inside the axes with squares: centres in data and half sizes in pixels."""
    found = []
    for text in axes.texts:
        box = text.get_window_extent()
        half = box.height / 2
        for x in np.arange(box.x0 + half, box.x1, half):
            centre = axes.transData.inverted().transform((x, box.y0 + half))
            found.append((float(centre[0]), float(centre[1]), float(half)))
    return found
