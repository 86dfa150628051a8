"""Figures of how quality and speed change with rate, decoder steps and resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ssdd_bench.report.canvas import LOG_FROM, canvas, finish, put_title, scale_y, styles_of
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import comparable_groups, describe_hardware, split
from ssdd_bench.report.labels import Point
from ssdd_bench.report.ranking import is_eligible
from ssdd_bench.report.tables.numbers import NEGLIGIBLE, metric_heading, metric_name

_WITHIN = ["protocol", "data", "n"]
_POINTS_SHOWN = 200  # images, above which a distribution is a box alone


@dataclass(frozen=True)
class _Panel:
    """One pair of axes: rows with both values, the line each belongs to, and the words."""

    rows: pd.DataFrame
    x: str
    y: str
    line: str  # column that rows of one line share
    title: str
    remark: str
    x_label: str
    y_label: str
    distance: bool = False


def rate_plot(frame: pd.DataFrame, metrics: Sequence[str], *paths: Path) -> bool:
    """Draw quality against what the latent holds: floats or bits per pixel, never on one axis.

    Returns:
        Whether anything was drawn: there must be two rates of one kind.
    """
    units = {"floats_per_pixel": "floats per pixel (log)", "bits_per_pixel": "bits per pixel (log)"}
    panels = [
        _panel(group.rows, column, metric, "id", group.n, label)
        for group in comparable_groups(_quality(frame))
        for metric in metrics
        for column, label in units.items()
    ]
    return _draw("Reconstruction quality and compression rate", panels, paths)


def steps_plot(frame: pd.DataFrame, metrics: Sequence[str], *paths: Path) -> bool:
    """Draw quality against the decoder's steps; tokenizers of one number of steps are points.

    Returns:
        Whether anything was drawn: one tokenizer must have two numbers of steps.
    """
    panels = [
        _panel(group.rows, "steps", metric, "network", group.n, "decoder steps")
        for group in comparable_groups(_quality(frame))
        for metric in metrics
        if (group.rows.groupby("network")["steps"].nunique() > 1).any()
    ]
    return _draw("Reconstruction quality and decoder steps", panels, paths)


def resolution_plot(frame: pd.DataFrame, metrics: Sequence[str], *paths: Path) -> bool:
    """Draw quality against resolution, one line per tokenizer measured at two or more.

    Returns:
        Whether anything was drawn: there must be two resolutions.
    """
    groups = [_lines(rows) for rows in split(_quality(frame), _WITHIN)]
    panels = [
        _panel(rows, "resolution", metric, "label", int(rows["n"].iloc[0]), "resolution, px")
        for rows in groups
        if not rows.empty
        for metric in metrics
    ]
    return _draw("Reconstruction quality and resolution", panels, paths)


def _lines(rows: pd.DataFrame) -> pd.DataFrame:
    """The tokenizers that have more than one resolution: one alone is a point, and no line."""
    return rows[rows.groupby("label")["resolution"].transform("nunique") > 1]


def speed_scaling_plot(frame: pd.DataFrame, *paths: Path) -> bool:
    """Draw decoding and encoding speed against resolution, one pair of panels per machine.

    Returns:
        Whether anything was drawn: one machine must have two resolutions.
    """
    panels = []
    timed = frame[(frame["decode_ips"] > 0) & is_eligible(frame)]
    for rows in map(_lines, split(timed, [*_WITHIN, "device", "threads", "dtype"])):
        if rows.empty:
            continue
        for way in ("decode", "encode"):
            remark = f"{describe_hardware(rows)[0]}, protocol {rows['protocol'].iloc[0]}"
            known = rows[rows[f"{way}_ips"].notna()]
            panels.append(
                _Panel(
                    known,
                    "resolution",
                    f"{way}_ips",
                    "label",
                    f"{way.capitalize()[:-1]}ing",
                    remark,
                    "resolution, px",
                    f"{way} images/s (log)",
                )
            )
    return _draw("Speed and resolution", panels, paths)


def distribution_plot(frame: pd.DataFrame, metrics: Sequence[str], *paths: Path) -> bool:
    """Draw how the scores of single images spread: quartiles, 5% and 95%, and every image.

    Returns:
        Whether anything was drawn: two rows must have scores of two or more images.
    """
    panels = []
    for group in comparable_groups(_quality(frame)):
        for metric in metrics:
            scores = {
                label: row[metric][row[metric].map(math.isfinite)]
                for label, row in zip(group.rows["label"], group.rows["scores"], strict=True)
                if metric in row
            }
            scores = {label: one for label, one in scores.items() if len(one) > 1}
            if len(scores) > 1:
                panels.append((group, metric, scores))
    if not panels:
        return False
    styles = styles_of(list(dict.fromkeys(frame["id"])))
    most = max(len(scores) for _, _, scores in panels)
    with canvas(len(panels), height=1.4 + 0.34 * most) as (figure, axes):
        figure.suptitle("Scores of single images", fontsize=12, x=0.01, ha="left")
        for one, (group, metric, scores) in zip(axes, panels, strict=True):
            ids = dict(zip(group.rows["label"], group.rows["id"], strict=True))
            _draw_boxes(one, scores, [styles[ids[label]]["color"] for label in scores])
            put_title(
                one,
                f"{group.resolution} × {group.resolution} px",
                f"n = {group.n} ({group.data}), protocol {group.protocol}",
                "box: quartiles and median; whiskers: 5% and 95%"
                + ("; marks: images" if group.n <= _POINTS_SHOWN else ""),
            )
            higher = metric_directions(frame)[metric]
            one.set_xlabel(f"{metric_name(metric)} {'↑' if higher else '↓'}, per image")
        finish(figure, [], *paths)
    return True


def _quality(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that may be ranked: reconstructions without the controls."""
    return frame[(frame["kind"] == "reconstruction") & is_eligible(frame)]


def _panel(rows: pd.DataFrame, x: str, metric: str, line: str, n: int, x_label: str) -> _Panel:
    higher = metric_directions(rows)[metric]
    first = rows.iloc[0]
    size = "" if x == "resolution" else f"{first['resolution']} × {first['resolution']} px"
    return _Panel(
        rows[rows[x].notna() & rows[metric].notna()],
        x,
        metric,
        line,
        size or f"n = {n} ({first['data']})",
        ("" if x == "resolution" else f"n = {n} ({first['data']}), ")
        + f"protocol {first['protocol']}",
        x_label,
        metric_heading(metric, higher, n),
        distance=not higher,
    )


def _draw(title: str, panels: Sequence[_Panel], paths: Sequence[Path]) -> bool:
    """Draw the panels that have at least two places on their x axis."""
    panels = [panel for panel in panels if panel.rows[panel.x].nunique() > 1]
    if not panels:
        return False
    owners = list(dict.fromkeys(name for panel in panels for name in panel.rows[panel.line]))
    styles = styles_of(owners)
    with canvas(len(panels)) as (figure, axes):
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        labels = [_draw_panel(one, panel, styles) for one, panel in zip(axes, panels, strict=True)]
        lines = panels[0].x == "resolution"
        finish(figure, zip(axes, labels, strict=True), *paths, ends_of_lines=lines)
    return True


def _draw_panel(axes: Axes, panel: _Panel, styles: dict[str, dict[str, Any]]) -> list[Point]:
    """Draw lines and markers; returns a label for each line."""
    places = sorted({float(value) for value in panel.rows[panel.x]})
    _scale_ratios(axes, places, panel.x)
    values = [float(value) for value in panel.rows[panel.y]]
    if panel.y.endswith("_ips"):
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.6, max(values) * 1.6)
        wide = max(values) / min(values) > LOG_FROM
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        scale_y(axes, values, distance=panel.distance)
    log = " (log)" if panel.distance and axes.get_yscale() == "log" else ""
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label + log)
    put_title(axes, panel.title, panel.remark)
    return list(_draw_lines(axes, panel, styles))


def _draw_lines(axes: Axes, panel: _Panel, styles: dict[str, dict[str, Any]]) -> Iterator[Point]:
    for owner, mine in panel.rows.groupby(panel.line, sort=False):
        mine = mine.sort_values([panel.x, "seed"])
        xs = [float(value) for value in mine[panel.x]]
        ys = [0.0 if abs(y) < NEGLIGIBLE else float(y) for y in mine[panel.y]]
        style = styles[str(owner)]
        axes.plot(xs, ys, **style)
        yield Point(xs[-1], ys[-1], str(owner))


def _scale_ratios(axes: Axes, places: Sequence[float], x: str) -> None:
    """Make x logarithmic, with room for labels; steps and resolutions get a tick each."""
    axes.set_xscale("log")
    low, high = math.log10(places[0]), math.log10(places[-1])
    room = max(0.25 * (high - low), 0.05)
    right = 2.6 * room if x == "resolution" else room
    axes.set_xlim(10 ** (low - room), 10 ** (high + right))
    if x in ("steps", "resolution"):
        axes.xaxis.set_major_locator(FixedLocator(places))
    else:
        wide = places[-1] / places[0] > LOG_FROM
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _draw_boxes(axes: Axes, scores: dict[str, pd.Series[float]], colors: Sequence[str]) -> None:
    """One box per row from the top, in the order of the medians."""
    order = sorted(scores, key=lambda label: float(scores[label].median()))
    by_label = dict(zip(scores, colors, strict=True))
    for place, label in enumerate(order):
        one = scores[label]
        axes.boxplot(
            [one.to_numpy()],
            positions=[place],
            orientation="horizontal",
            widths=0.5,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": "none", "edgecolor": by_label[label], "linewidth": 1.2},
            medianprops={"color": by_label[label], "linewidth": 2.2},
            whiskerprops={"color": by_label[label]},
            capprops={"color": by_label[label]},
        )
        if len(one) <= _POINTS_SHOWN:
            axes.plot(one, [place] * len(one), "|", color="0.25", markersize=6, alpha=0.5)
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.grid(axis="y", visible=False)
