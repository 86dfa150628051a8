"""Figures: quality against speed as measured, and, apart from it, as published.

Figures are built without pyplot, so nothing global changes, and equal input gives equal bytes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.report.grid import NEGLIGIBLE, format_number, metric_heading
from ssdd_bench.report.labels import Point, place_labels
from ssdd_bench.report.published import PublishedRow
from ssdd_bench.report.rows import (
    Group,
    check_metric,
    comparable_groups,
    competes,
    describe_hardware,
    display_names,
    metric_directions,
    split,
)

# Okabe and Ito's palette, told apart by every kind of colour vision; yellow is too pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "h", "X", "P", "*", "d")
_GREY = "0.45"
_LOG_FROM = 20.0  # largest over smallest positive distance, above which y is logarithmic
_STYLE: dict[Any, Any] = {
    "figure.dpi": 150.0,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "ssdd-bench",
}


def quality_speed_plot(frame: pd.DataFrame, metric: str, path: Path) -> None:
    """Draw the paper's figure from our measurements: quality against decode images/s.

    One panel per group of comparable rows and machine; one colour and marker per tokenizer, its
    variants joined by a thin line; the front of tokenizers that no other beats in both.

    Args:
        frame: from :func:`ssdd_bench.report.rows.to_frame`.
        metric: a metric column.
        path: .png, .svg or .pdf.

    Raises:
        UserError: the metric is unknown, or no row has both it and a timing.
        OutputError: the file cannot be written.
    """
    check_metric(frame, metric)
    panels = list(_panels(frame, metric))
    if not panels:
        raise UserError(
            f"no row has both {metric} and a decode timing: run again with timing switched on"
        )
    styles = _styles(list(dict.fromkeys(frame["id"])))
    with _canvas(len(panels)) as (figure, axes):
        figure.suptitle("Reconstruction quality and decode speed", fontsize=12, x=0.01, ha="left")
        drawn = [
            _draw_panel(panel_axes, group, metric, metric_directions(frame)[metric], styles)
            for panel_axes, group in zip(axes, panels, strict=True)
        ]
        _finish(figure, zip(axes, drawn, strict=True), path)


def published_plot(rows: Sequence[PublishedRow], path: Path) -> None:
    """Draw the points of the paper's figure in grey, never on axes with measured speed.

    Args:
        rows: those without rFID or speed are left out.
        path: .png, .svg or .pdf.

    Raises:
        UserError: no row has both rFID and speed.
        OutputError: the file cannot be written.
    """
    rows = [row for row in rows if "rfid" in row.metrics and row.images_per_s is not None]
    if not rows:
        raise UserError("no published row has both rFID and images/s: nothing to draw")
    how = "digitised from the figure" if any(row.digitised for row in rows) else "as printed"
    hardware = ", ".join(sorted({row.hardware for row in rows}))
    sizes = ", ".join(sorted({f"{row.resolution} px" for row in rows}))
    sources = "; ".join(sorted({row.source for row in rows}))
    with _canvas(1, width=6.6, height=4.6) as (figure, (axes,)):
        figure.suptitle(
            f"Published, not measured here: {how}, hardware {hardware}",
            fontsize=11,
            x=0.01,
            ha="left",
        )
        _title(axes, f"ImageNet-1k val, {sizes}", f"Source: {sources}", width=100)
        points = [
            Point(float(row.images_per_s or 0), row.metrics["rfid"], row.model, "0.25")
            for row in rows
        ]
        families = list(dict.fromkeys(_family(row) for row in rows))
        for family, marker in zip(families, _cycle(MARKERS), strict=False):
            mine = [p for p, row in zip(points, rows, strict=True) if _family(row) == family]
            mine.sort(key=lambda point: point.x)
            axes.plot(
                [p.x for p in mine],
                [p.y for p in mine],
                marker=marker,
                color=_GREY,
                linewidth=0.8 if len(mine) > 1 else 0,
                markersize=6,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
        _label_axes(axes, "rFID ↓", "decode images/s (log)")
        _scale_x(axes, [p.x for p in points])
        _scale_y(axes, [p.y for p in points])
        _finish(figure, [(axes, points)], path)


def pareto_front(
    speeds: Sequence[float], scores: Sequence[float], higher_is_better: bool
) -> list[int]:
    """Indices of the points that none beats in one respect and equals in the other, by speed."""
    sign = 1.0 if higher_is_better else -1.0
    front: list[int] = []
    best = -math.inf
    for index in sorted(range(len(speeds)), key=lambda i: (-speeds[i], -sign * scores[i])):
        if sign * scores[index] > best:
            best = sign * scores[index]
            front.append(index)
    return front[::-1]


def _panels(frame: pd.DataFrame, metric: str) -> Iterator[Group]:
    """Groups of rows with a score and a timing, split where the machine differs."""
    for group in comparable_groups(frame):
        rows = group.rows
        rows = rows[rows[metric].notna() & (rows["decode_ips"] > 0)]
        for machine in split(rows, ["device", "threads", "dtype"]):
            yield replace(group, rows=machine)


def _draw_panel(
    axes: Axes, group: Group, metric: str, higher: bool, styles: dict[str, dict[str, Any]]
) -> list[Point]:
    """Draw markers, joining lines, front and titles; returns the labels still to be placed."""
    rows = group.rows
    speeds = list(rows["decode_ips"])
    scores = [0.0 if abs(score) < NEGLIGIBLE else float(score) for score in rows[metric]]
    _scale_x(axes, speeds)
    pinned = _scale_y(axes, scores, distance=not higher)
    heights = [pinned.get(score, score) for score in scores]
    for name, style in styles.items():
        mine = sorted(
            (x, y) for x, y, owner in zip(speeds, heights, rows["id"], strict=True) if owner == name
        )
        if mine:
            axes.plot(*zip(*mine, strict=True), **style)
    racing = [i for i, may in enumerate(competes(rows)) if may]
    front = [racing[i] for i in pareto_front(*_pick(speeds, scores, racing), higher)]
    if len(front) > 1:
        axes.plot(
            [speeds[i] for i in front],
            [heights[i] for i in front],
            color="0.35",
            linestyle=(0, (4, 2)),
            linewidth=1.0,
            zorder=1.5,
            label="Pareto front",
        )
        axes.legend(loc="best", frameon=False, fontsize=8)
    heading = metric_heading(metric, higher, group.n)
    scale = " (log)" if axes.get_yscale() == "log" else ""
    _label_axes(axes, heading + scale, "decode images/s (log)")
    batches = ", ".join(str(batch) for batch in sorted(set(rows["batch"].dropna())))
    _title(
        axes,
        f"{group.resolution} × {group.resolution} px",
        f"n = {group.n} ({group.data}), protocol {group.protocol}",
        f"{describe_hardware(rows)[0]}, batch {batches}",
    )
    return [
        Point(x, y, f"{name} ({format_number(score)})" if score in pinned else name)
        for x, y, score, name in zip(speeds, heights, scores, display_names(rows), strict=True)
    ]


def _pick(
    speeds: Sequence[float], scores: Sequence[float], indices: Sequence[int]
) -> tuple[list[float], list[float]]:
    return [speeds[i] for i in indices], [scores[i] for i in indices]


def _scale_x(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic, with room for labels; a narrow range still shows a factor of ten."""
    axes.set_xscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.18 * (high - low), (1.0 - (high - low)) / 2, 0.12)
    axes.set_xlim(10 ** (low - margin), 10 ** (high + margin))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high - low > 1.5 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _scale_y(axes: Axes, values: Sequence[float], *, distance: bool = False) -> dict[float, float]:
    """Choose the scale and room for labels.

    Returns:
        Where to draw values that the scale has no place for: infinite ones at the edge and, on a
        logarithmic scale, zeros at the bottom.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    positive = [value for value in finite if value > 0]
    if distance and positive and min(finite) >= 0 and max(positive) / min(positive) > _LOG_FROM:
        axes.set_yscale("log")
        low, high = math.log10(min(positive)), math.log10(max(positive))
        room = 0.12 * (high - low)
        floor = 10 ** (low - 2 * room)
        pinned = {0.0: floor} if 0.0 in finite else {}
        axes.set_ylim(10 ** (low - (3 if pinned else 1) * room), 10 ** (high + room))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return pinned
    low, high = min(finite), max(finite)
    room = 0.12 * ((high - low) or abs(high) or 1.0)
    pinned = {}
    if math.inf in values:
        pinned[math.inf] = high + 2 * room
    axes.set_ylim(low - room, high + (3 if pinned else 1) * room)
    return pinned


def _title(axes: Axes, title: str, *remarks: str, width: int = 72) -> None:
    """Put a title and small grey lines of remarks, wrapped, above the axes."""
    lines = [line for remark in remarks for line in textwrap.wrap(remark, width)]
    axes.set_title(title, loc="left", fontsize=10, pad=6 + 11 * len(lines))
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=7.5,
        color="0.3",
        va="bottom",
    )


def _label_axes(axes: Axes, quality: str, speed: str) -> None:
    axes.set_ylabel(quality)
    axes.set_xlabel(speed)


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker by tokenizer; markers alone tell up to thirteen apart in print."""
    return {
        name: {
            "color": COLORS[index % len(COLORS)],
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 7,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
            "linewidth": 0.7,
            "zorder": 3,
        }
        for index, name in enumerate(names)
    }


def _family(row: PublishedRow) -> str:
    """Rows of one model in several sizes, as their names say: 'SSDD-S' and 'SSDD-M'."""
    steps = ", 1 step" if row.steps == 1 and "1 step" in row.model else ""
    return row.model.removesuffix(", 1 step").rstrip("SBMLHX").rstrip(" -") + steps


def _cycle(items: Sequence[str]) -> Iterator[str]:
    while True:
        yield from items


@contextmanager
def _canvas(
    panels: int, width: float = 4.9, height: float = 4.3
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in our style whatever the user's matplotlibrc says, restored on leaving."""
    columns = min(panels, 2)
    lines = math.ceil(panels / columns)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(max(columns * width, 6.0), lines * height), layout="constrained")
        FigureCanvasAgg(figure)  # measures text; the figure holds on to it
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for spare in grid[panels:]:
            spare.remove()
        yield figure, list(grid[:panels])


def _finish(figure: Figure, labels: Iterable[tuple[Axes, list[Point]]], path: Path) -> None:
    """Place the labels and write the file without dates: equal figures are equal bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed for the axes as they are now
    for axes, points in labels:
        place_labels(axes, points)
    path = Path(path)
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    if path.suffix not in undated:
        raise UserError(f"{path}: figures are written as {', '.join(sorted(undated))} only")
    try:
        figure.savefig(path, metadata=undated[path.suffix])
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
