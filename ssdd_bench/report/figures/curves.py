"""Charts of quality against decode speed, compression rate, decoder steps and resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from ssdd_bench.report.figures.chart import Chart, Mark, Panel
from ssdd_bench.report.figures.panel import guidance_title, make_panel, panel_title
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import MACHINE, SAME_IMAGES, comparable_groups, pool_seeds, split
from ssdd_bench.report.published import PublishedRow
from ssdd_bench.report.ranking import is_baseline, is_eligible
from ssdd_bench.report.tables.columns import format_number, format_short, metric_name

_CURVES: Final = {  # beginning with the one that takes the longest to draw
    "speed-scaling": "Speed and resolution",
    "quality-vs-rate": "Reconstruction quality and compression rate",
    "quality-vs-steps": "Reconstruction quality and decoder steps",
    "quality-vs-resolution": "Reconstruction quality and resolution",
}
_MARKERS: Final = ("o", "s", "^", "D", "v", "p", "<", ">", "h", "X", "P")


def speed_chart(frame: pd.DataFrame, metric: str, kind: str = "reconstruction") -> Chart | None:
    """Show quality against decode images/s: a panel per resolution, rate, guidance and machine.

    Returns:
        The chart, or None if no row of this kind has both the metric and a timing.
    """
    panels = tuple(speed_panels(frame[frame["kind"] == kind], metric))
    name = "quality-vs-speed" if kind == "reconstruction" else "generation-vs-speed"
    title = f"{kind.capitalize()} quality and decode speed"
    return Chart(name, title, panels, metric) if panels else None


def speed_panels(frame: pd.DataFrame, metric: str) -> Iterator[Panel]:
    """Lay out the rows with a finite score and a timing, without baselines beside tokenizers.

    Codecs would push what is compared into a corner; the figures of compression rates have them.
    """
    for group in comparable_groups(pool_seeds(frame)):
        finite = group.rows[metric].map(math.isfinite)
        rows = group.rows[finite & (group.rows["decode_ips"] > 0)]
        rows = rows[~is_baseline(rows)].sort_values(["f", "guidance", *MACHINE], kind="stable")
        for mine in split(rows, [*MACHINE, "f", "guidance"]):
            names = _short_names(mine)
            title = panel_title(mine) + guidance_title(mine)
            yield make_panel(mine, "decode_ips", metric, _step_labels(mine, names), names, title)


def curve_charts(frame: pd.DataFrame, metrics: Sequence[str]) -> Iterator[Chart]:
    """Yield the charts over compression rate, decoder steps and resolution.

    A chart without panels is left out: a panel needs two rates, one network at two numbers of
    steps, or one tokenizer at two resolutions. Floats and bits per pixel never share an axis.
    """
    frame = frame[(frame["kind"] == "reconstruction") & is_eligible(frame)]
    found: dict[str, list[Panel]] = {name: [] for name in _CURVES}
    for group in comparable_groups(frame):
        for metric in metrics:
            for column in ("floats_per_pixel", "bits_per_pixel"):
                found["quality-vs-rate"] += _rate_panel(group.rows, column, metric)
            for _, rows in group.rows.groupby("f"):
                found["quality-vs-steps"] += _step_panel(rows, metric)
    for rows in split(frame, SAME_IMAGES):
        for metric in metrics:
            found["quality-vs-resolution"] += _resolution_panel(rows, metric, metric_name(metric))
    for rows in split(frame, [*SAME_IMAGES, *MACHINE]):
        found["speed-scaling"] += _resolution_panel(rows, "decode_ips", "Decoding")
        found["speed-scaling"] += _resolution_panel(rows, "encode_ips", "Encoding")
    for name, panels in found.items():
        if panels:
            yield Chart(name, _CURVES[name], tuple(panels))


def published_chart(rows: Sequence[PublishedRow]) -> Chart | None:
    """Show printed rFID against decode speed in grey, sizes of one model joined; None without both.

    Published numbers never share axes with measured ones.
    """
    shown = [row for row in rows if "rfid" in row.metrics and row.images_per_s]
    if not shown:
        return None
    models = list(dict.fromkeys(map(_model, shown)))
    how = "digitised from the figure" if any(row.digitised for row in shown) else "as printed"
    hardware = ", ".join(sorted({row.hardware for row in shown}))
    sizes = ", ".join(sorted({f"{row.resolution} px" for row in shown}))
    sources = "; ".join(sorted({row.source for row in shown}))
    marks = tuple(
        Mark(
            x=float(row.images_per_s or 0),
            y=row.metrics["rfid"],
            family="",
            marker=_MARKERS[models.index(_model(row)) % len(_MARKERS)],
            label=row.model,
            tip=f"{row.model}\nrFID {format_number(row.metrics['rfid'])}\n"
            f"decode {format_short(row.images_per_s)} images/s\n{row.source}",
            line=_model(row),
        )
        for row in shown
    )
    panel = Panel(
        marks,
        f"Published, not measured here: {sizes}",
        (f"{how.capitalize()}, hardware {hardware}",),
        "decode images/s (log)",
        "rFID ↓",
        higher=False,
        reading=f"Source: {sources}.",
    )
    return Chart("published-figure", "Published rFID and speed", (panel,))


def _rate_panel(rows: pd.DataFrame, column: str, metric: str) -> Iterator[Panel]:
    """Join one family's rows of equal steps, and label each family once, at its best row."""
    rows = rows[rows[column].notna() & rows[metric].map(math.isfinite)]
    if rows[column].nunique() > 1:
        steps = rows["steps"].astype(str).where(rows["steps"].notna(), "")
        worse_first = not metric_directions(rows)[metric]
        best = rows.sort_values([column, metric], ascending=[False, worse_first])
        first = ~best["id"].duplicated().reindex(rows.index)
        labels, lines = rows["id"].where(first, ""), rows["id"] + " " + steps
        yield make_panel(rows, column, metric, labels, lines, panel_title(rows, rate=False))


def _step_panel(rows: pd.DataFrame, metric: str) -> Iterator[Panel]:
    rows = rows.dropna(subset=["steps", metric])
    names = _short_names(rows)
    steps = rows["steps"].astype(float).groupby(names)
    if steps.nunique().max() > 1:
        last = rows.index == steps.transform("idxmax")
        yield make_panel(rows, "steps", metric, names.where(last, ""), names)


def _resolution_panel(rows: pd.DataFrame, column: str, title: str) -> Iterator[Panel]:
    """Draw a line for each tokenizer of several resolutions, labelled at its end."""
    rows = rows.dropna(subset=[column])
    sizes = rows.groupby("label")["resolution"]
    rows = rows[sizes.transform("nunique") > 1]
    if not rows.empty:
        labels = rows["label"].where(rows.index == sizes.transform("idxmax")[rows.index], "")
        yield make_panel(rows, "resolution", column, labels, rows["label"], title)


def _short_names(rows: pd.DataFrame) -> pd.Series[str]:
    """Name the networks of a panel of one compression rate, without what all rows share."""
    plain = [
        network.partition(f" + {model}")[0] if model else network
        for network, model in zip(rows["network"], rows["model"], strict=True)
    ]
    names = pd.Series(plain, rows.index)
    names = names.str.replace(r"(?<=[:,])f=\d+(,|$)", "", regex=True).str.rstrip(":,")
    for column, form in (("model", ", {}"), ("sampler", ", {}"), ("guidance", ", cfg {}")):
        if rows[column].nunique(dropna=False) > 1:
            names += rows[column].map(form.format).where(rows[column].astype(str) != "1", "")
    return names


def _step_labels(rows: pd.DataFrame, names: pd.Series[str]) -> pd.Series[str]:
    """Label each network once, and the other marks of its path by their decoder steps."""
    if rows["steps"].nunique() < 2:
        return names
    steps = rows["steps"].groupby(names)
    most, several = steps.transform("max"), steps.transform("nunique") > 1
    words = rows["steps"].astype(str) + " step" + (rows["steps"] != 1).map({True: "s", False: ""})
    labels = (names + ", ").where(rows["steps"] == most, "") + words
    return labels.where(several, names)


def _model(row: PublishedRow) -> str:
    """Name a model without its size: SSDD of SSDD-S and SSDD-M."""
    steps = ", 1 step" if row.steps == 1 and "1 step" in row.model else ""
    return row.model.removesuffix(", 1 step").rstrip("SBMLHX").rstrip(" -") + steps
