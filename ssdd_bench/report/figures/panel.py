"""Panels of marks: what all figures of x against y are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """One point.

    Attributes:
        x: place, above 0.
        y: place; may be infinite.
        family: whose colour it has, by which the page hides it.
        marker: its shape.
        label: text beside it; "" for none.
        tip: hover text on the page.
        line: marks of one line are joined by rising x; "" for none.
        x_range: ends of the horizontal error bar, if any.
        y_range: ends of the vertical one.
        eligible: whether the Pareto front may hold it.
    """

    x: float
    y: float
    family: str
    marker: str = "o"
    label: str = ""
    tip: str = ""
    line: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    eligible: bool = True


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        marks: at least one.
        title: short, in bold.
        remark: images, protocol and machine, below the figure.
        x_label: of the x axis.
        y_label: of the y axis.
        higher: whether more of y is better.
        front: draw the Pareto front and name the better corner.
        ticks: x has ticks at the marks alone.
        ends: labels stand right of the lines' ends.
        log_y: y is logarithmic whatever its range.
    """

    marks: tuple[Mark, ...]
    title: str
    remark: str
    x_label: str
    y_label: str
    higher: bool
    front: bool = False
    ticks: bool = False
    ends: bool = False
    log_y: bool = False
