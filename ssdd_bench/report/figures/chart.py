"""Content of figures as plain data: drawing it needs neither results nor pandas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Mark:
    """One point."""

    x: float
    y: float
    family: str  # tokenizer whose colour it has, by which the page hides it
    marker: str = "o"
    label: str = ""
    tip: str = ""  # hover text on the page
    line: str = ""  # marks of one line are joined by rising x
    x_range: tuple[float, float] | None = None  # ends of the error bar
    y_range: tuple[float, float] | None = None
    front: bool = False  # on the Pareto front


@dataclass(frozen=True)
class Panel:
    """One pair of axes and its marks."""

    marks: tuple[Mark, ...]
    title: str
    conditions: tuple[str, ...]  # images and protocol; machine
    x_label: str
    y_label: str
    higher: bool  # more of y is better
    reading: str = ""  # what outlines and bars are, or the source
    corner: bool = False  # draw the Pareto front and name the better corner
    less_x: bool = False  # less of x is better
    ticks: bool = False  # x has ticks at the marks alone
    ends: bool = False  # labels stand right of the lines' ends
    log_y: bool = False  # whatever its range


@dataclass(frozen=True)
class Chart:
    """Content of a figure of panels; name, title and metric are those of the drawing."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    metric: str = ""


@dataclass(frozen=True)
class Spread:
    """The scores of one row's images."""

    label: str
    family: str  # tokenizer whose colour it has, by which the page hides it
    values: npt.NDArray[np.float64]
    quantiles: tuple[float, float, float, float, float]  # 5%, quartiles and 95%
    tip: str  # hover text on the page


@dataclass(frozen=True)
class Boxes:
    """One pair of axes, with the rows from the lowest median up."""

    title: str
    x_label: str
    rows: tuple[Spread, ...]


@dataclass(frozen=True)
class Distributions:
    """Content of the figure of the scores of single images."""

    name: str
    title: str
    panels: tuple[Boxes, ...]
    remark: str  # images and protocols
    alt: str  # what it shows, for those who do not see it
    metric: str = ""
