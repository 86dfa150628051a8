"""Labels of marks: which are written where there are many, and a free place for each."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import textalloc
from matplotlib.axes import Axes
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure
from matplotlib.text import Text

from ssdd_bench.report.figures.chart import Mark
from ssdd_bench.report.figures.palette import INK

_SIZE: Final = 8.0  # points, of labels
_CLEARANCE: Final = 4.5  # points that labels keep from the centre of a mark
_CROWD: Final = 16  # labels at most; more are a crowd, where few are written
_FEW_LABELS: Final = 6  # of a crowd, unless more are on the front


def is_crowded(marks: Sequence[Mark]) -> bool:
    """Return True if there are too many labels to write all of them."""
    return sum(bool(mark.label) for mark in marks) > _CROWD


def thin_out(marks: Sequence[Mark], higher: bool) -> list[Mark]:
    """Drop labels of a crowd, but for those of the front and of the best; hovering tells them."""
    if not is_crowded(marks):
        return list(marks)
    labelled = [mark for mark in marks if mark.label]
    sign = 1 if higher else -1
    labelled.sort(key=lambda mark: (not mark.front, -sign * mark.y))
    few = min(max(_FEW_LABELS, sum(mark.front for mark in labelled)), _CROWD)
    kept = set(map(id, labelled[:few]))
    return [mark if id(mark) in kept else replace(mark, label="") for mark in marks]


def place_labels(
    axes: Axes, marks: Sequence[Mark], *, ends: bool = False, crowded: bool = False
) -> list[list[Any]]:
    """Put labels where they cover no mark, line or text, by textalloc's greedy search.

    A label without such a place near its mark covers something; in a crowd the place may be
    further away, and where there is none, there is no label.

    The search has no random part, so equal figures have equal labels. Sizes are given in pixels,
    since textalloc's relative distances stretch with the shape of the figure. Limits, scales and
    place of the axes must be final.

    Returns:
        The text of each labelled mark, and the line that leads to it if it is far away or another
        mark is nearer; in a crowd also nothing.
    """
    allocate: Any = textalloc.allocate  # its annotations forbid None and say nothing of artists
    labelled = [mark for mark in marks if mark.label]
    if not labelled:
        return []
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure), "axes without a figure"
    clearance = _CLEARANCE * figure.dpi / 72
    obstacles = [(mark.x, mark.y, clearance) for mark in marks] + _text_obstacles(axes)
    lines = [
        piece
        for line in axes.get_lines()
        if line.get_linestyle() != "None"
        for piece in _pieces(*STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_data()))
    ]
    xs, ys, sizes = (list(values) for values in zip(*obstacles, strict=True))
    with _already_drawn(figure), redirect_stdout(io.StringIO()):  # it prints what it cannot place
        _, _, texts, leaders = allocate(
            axes,
            [mark.x for mark in labelled],
            [mark.y for mark in labelled],
            [mark.label for mark in labelled],
            x_scatter=xs,
            y_scatter=ys,
            scatter_sizes=sizes,
            text_scatter_sizes=[clearance] * len(labelled),
            x_lines=[piece[:, 0] for piece in lines],
            y_lines=[piece[:, 1] for piece in lines],
            textsize=_SIZE,
            textcolor=INK,
            direction=["east", "northeast", "southeast"] if ends else None,
            margin=0.001,
            min_distance=0.002,
            max_distance=0.5 if crowded else 0.25,
            draw_all=not crowded,
            linecolor="0.6",
            linewidth=0.6,
            zorder=5,
            parse_math=False,
        )
    found = [[text] if text else [] for text in texts]
    points = axes.transData.transform([(mark.x, mark.y) for mark in marks])
    for mark, artists, leader in zip(labelled, found, leaders, strict=True):
        if leader is not None:
            tips = axes.transData.transform(np.column_stack(leader.get_data()))
            near = np.hypot(*(tips[1] - tips[0])) < 2.5 * clearance
            if near and all(marks[_nearest(points, text)] is mark for text in artists):
                leader.remove()
            else:
                artists.append(leader)
    return found


def _nearest(points: npt.NDArray[np.float64], text: Text) -> int:
    """Return which of some points, in pixels, is nearest to the box of a text."""
    (left, low), (right, high) = text.get_window_extent().get_points()
    gaps = np.maximum([left, low] - points, points - [right, high]).clip(min=0)
    return int(np.hypot(*gaps.T).argmin())


def _pieces(xs: Any, ys: Any) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the pieces of a path, as points, without its gaps: these would be compared in vain."""
    points = np.column_stack([xs, ys]).astype(float)
    for piece in np.split(points, np.flatnonzero(np.isnan(points[:, 1]))):
        if len(known := piece[~np.isnan(piece[:, 1])]) > 1:
            yield known


@contextmanager
def _already_drawn(figure: Figure) -> Iterator[None]:
    """Spare the drawing of the whole figure with which textalloc begins, once for each panel."""
    figure.draw_without_rendering = lambda: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del figure.draw_without_rendering  # of this object; the method is seen again


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
