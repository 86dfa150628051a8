"""Text beside markers such that no label covers another, a marker or the frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

_RADII = (7.0, 10.0, 14.0, 19.0, 26.0, 34.0, 44.0, 56.0, 70.0, 86.0)  # points, from the marker
_ANGLES = (0, 30, -30, 90, -90, 180, 150, -150, 60, -60, 120, -120)  # degrees, best first
_LEADER_FROM = 19.0  # a label this far away gets a line to its marker
_MARKER = 4.5  # half the size of a marker, points
_PADDING = 1.0  # pixels left free around a label
# What a place costs, in points of distance: per pixel covered, and for lying on a line.
_COVERED = 1000.0
_CROSSED = 25.0


@dataclass(frozen=True)
class Point:
    """A marker in data coordinates and the words that belong to it."""

    x: float
    y: float
    text: str
    color: str = "black"


def place_labels(axes: Axes, points: Sequence[Point], *, size: float = 8.0) -> list[Annotation]:
    """Label every point at the nearest free place, the most crowded points first.

    Lines and a legend that the axes already hold are kept free as well, if there is a choice.
    The axes' limits, scales and position in the figure must be final.

    Args:
        axes: where the markers are.
        points: markers with labels.
        size: of the font, in points.

    Returns:
        The labels in the order of ``points``. Where nothing is free the least bad place is taken.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes without a figure"
    pixels = figure.dpi / 72
    frame = axes.get_window_extent()
    centres = [_to_pixels(axes, point) for point in points]
    taken = [_square(centre, _MARKER * pixels) for centre in centres]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    strokes = _strokes(axes)
    # Points with many neighbours have the fewest free places, so they choose first.
    order = sorted(range(len(points)), key=lambda i: (-_crowding(i, centres, 60 * pixels), i))
    labels: dict[int, Annotation] = {}
    for index in order:
        label = axes.annotate(
            points[index].text,
            (points[index].x, points[index].y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            color=points[index].color,
            ha="center",
            va="center",
            annotation_clip=False,
            zorder=5,
        )
        extent = label.get_window_extent()
        width, height = extent.width, extent.height
        x, y = centres[index]
        choices = []
        for radius, dx, dy in _offsets(width / pixels, height / pixels):
            left, low = x + dx * pixels - width / 2, y + dy * pixels - height / 2
            box = Bbox.from_bounds(left, low, width, height).padded(_PADDING)
            covered = sum(_overlap(box, other) for other in taken) + _outside(box, frame)
            cost = _COVERED * covered + _CROSSED * _crosses(box, strokes) + radius
            choices.append((cost, radius, dx, dy, box))
        _, radius, dx, dy, box = min(choices, key=lambda choice: choice[0])
        label.set_position((dx, dy))
        if radius >= _LEADER_FROM:
            axes.annotate(
                "",
                (points[index].x, points[index].y),
                xytext=_nearest_edge(dx, dy, width / pixels, height / pixels),
                textcoords="offset points",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "0.6",
                    "linewidth": 0.6,
                    "shrinkA": 0,
                    "shrinkB": _MARKER,
                },
                zorder=1,
            )
        taken.append(box)
        labels[index] = label
    return [labels[index] for index in range(len(points))]


def _offsets(width: float, height: float) -> Iterator[tuple[float, float, float]]:
    """Offsets of a label's centre such that its edge is ``radius`` from the marker; points."""
    for radius in _RADII:
        for angle in _ANGLES:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            dx = radius * cos + math.copysign(width / 2, cos) * (abs(cos) > 0.1)
            dy = radius * sin + math.copysign(height / 2, sin) * (abs(sin) > 0.6)
            yield radius, dx, dy


def _nearest_edge(dx: float, dy: float, width: float, height: float) -> tuple[float, float]:
    """The point of a label's box that is nearest to its marker; points from the marker."""
    return (
        min(max(0.0, dx - width / 2), dx + width / 2),
        min(max(0.0, dy - height / 2), dy + height / 2),
    )


def _to_pixels(axes: Axes, point: Point) -> tuple[float, float]:
    x, y = axes.transData.transform((point.x, point.y))
    return float(x), float(y)


def _strokes(axes: Axes) -> npt.NDArray[np.float64]:
    """Points every few pixels along the lines of the axes, in pixels."""
    pieces = [np.empty((0, 2))]
    for line in axes.get_lines():
        if line.get_linewidth() == 0:
            continue
        corners = axes.transData.transform(np.column_stack(line.get_data()))
        for start, end in pairwise(corners):
            pieces.append(np.linspace(start, end, max(2, int(np.hypot(*(end - start)) / 3))))
    return np.concatenate(pieces)


def _crosses(box: Bbox, strokes: npt.NDArray[np.float64]) -> bool:
    inside = (strokes > np.array(box.min)) & (strokes < np.array(box.max))
    return bool(inside.all(axis=1).any())


def _square(centre: Sequence[float], half: float) -> Bbox:
    return Bbox.from_extents(centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)


def _crowding(index: int, centres: Sequence[tuple[float, float]], reach: float) -> int:
    return sum(math.dist(centres[index], other) < reach for other in centres)


def _overlap(first: Bbox, second: Bbox) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Bbox, frame: Bbox) -> float:
    """Area of a box beyond the frame, counted tenfold: a cut label cannot be read at all."""
    return 10 * (box.width * box.height - _overlap(box, frame))


def stack_labels(axes: Axes, points: Sequence[Point], *, size: float = 8.0) -> list[Annotation]:
    """Label the right ends of lines in one column, in the order of the ends and apart.

    The column begins right of all points, where the axes must have room.

    Returns:
        The labels in the order of ``points``.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes without a figure"
    pixels = figure.dpi / 72
    gap, frame = 1.25 * size * pixels, axes.get_window_extent()
    ends = [_to_pixels(axes, point) for point in points]
    order = sorted(range(len(points)), key=lambda i: (ends[i][1], i))
    heights = _spread([ends[i][1] for i in order], gap, frame.y0 + gap / 2, frame.y1 - gap / 2)
    column = max(x for x, _ in ends) + 18 * pixels
    labels: dict[int, Annotation] = {}
    for index, height in zip(order, heights, strict=True):
        x, y = ends[index]
        labels[index] = axes.annotate(
            points[index].text,
            (points[index].x, points[index].y),
            xytext=((column - x) / pixels, (height - y) / pixels),
            textcoords="offset points",
            fontsize=size,
            color=points[index].color,
            ha="left",
            va="center",
            annotation_clip=False,
            zorder=5,
            arrowprops={
                "arrowstyle": "-",
                "color": "0.6",
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": _MARKER,
            },
        )
    return [labels[index] for index in range(len(points))]


def _spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move rising heights as little as a few passes can so that neighbours are ``gap`` apart."""
    placed = list(heights)
    for _ in range(200):
        for i in range(len(placed) - 1):
            if (short := gap - (placed[i + 1] - placed[i])) > 0:
                placed[i] -= short / 2
                placed[i + 1] += short / 2
        if placed and placed[0] < low:
            placed[0] = low
        if placed and placed[-1] > high:
            placed[-1] = high
    return placed
