"""Chart of how the scores of single images spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from ssdd_bench.report.figures.chart import Boxes, Distributions, Spread
from ssdd_bench.report.figures.panel import (
    conditions_of,
    metric_label,
    panel_title,
    shorten_name,
)
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import comparable_groups, row_names
from ssdd_bench.report.ranking import is_eligible
from ssdd_bench.report.tables.columns import format_number, metric_name

_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_ROWS: Final = 16  # of a panel; more are thinned out evenly, the ends stay
_PANELS: Final = 4


def distribution_chart(frame: pd.DataFrame, metrics: Sequence[str]) -> Distributions | None:
    """Show the scores of single images; None if no two rows have two or more of them.

    The first four panels are shown, of at most 16 rows from the best to the worst.
    """
    frame = frame[(frame["kind"] == "reconstruction") & is_eligible(frame)]
    found = [
        (group.rows, metric, spreads)
        for group in comparable_groups(frame)
        for metric in metrics
        if len(spreads := _spreads(group.rows, metric)) > 1
    ][:_PANELS]
    if not found:
        return None
    title, higher = "Scores of single images", metric_directions(frame)
    panels, ends = list[Boxes](), list[str]()
    for rows, metric, spreads in found:
        name = panel_title(rows, rate=False)
        panels.append(Boxes(name, f"{metric_label(metric, higher[metric])}, per image", spreads))
        low, high = map(_median_of, (spreads[0], spreads[-1]))
        ends.append(f"{name}, {metric_name(metric)}: medians from {low} to {high}.")
    conditions = (one for rows, _, _ in found for one in conditions_of(rows))
    remark = "; ".join(dict.fromkeys(conditions)) + "."
    alt = f"{title}: {' '.join(ends)}"
    return Distributions("score-distributions", title, tuple(panels), remark, alt)


def _median_of(spread: Spread) -> str:
    return f"{format_number(spread.quantiles[2])} ({spread.label})"


def _spreads(rows: pd.DataFrame, metric: str) -> tuple[Spread, ...]:
    """Collect the finite scores of single images, in the order of their medians."""
    found: dict[str, Spread] = {}
    for label, family, scores in zip(row_names(rows), rows["id"], rows["scores"], strict=True):
        values = scores[metric].to_numpy(float) if metric in scores else np.empty(0)
        values = values[np.isfinite(values)]
        if len(values) > 1:
            quantiles = tuple(np.quantile(values, _QUANTILES).tolist())
            texts = ", ".join(map(format_number, quantiles))
            tip = f"{label}\n5%, quartiles and 95%:\n{texts}"
            found[label] = Spread(shorten_name(label), family, values, quantiles, tip)
    ordered = sorted(found.values(), key=lambda one: one.quantiles[2])
    places = np.linspace(0, len(ordered) - 1, min(_ROWS, len(ordered))).round().astype(int)
    return tuple(ordered[place] for place in places)
