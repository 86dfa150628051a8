"""Figure of published numbers, which never share axes with measured ones."""

from __future__ import annotations

from collections.abc import Sequence

from ssdd_bench.report.figures.draw import draw_panels
from ssdd_bench.report.figures.panel import Mark, Panel
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.published import PublishedRow
from ssdd_bench.report.tables.numbers import format_number, format_short

_MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "h", "X", "P")


def draw_published(rows: Sequence[PublishedRow]) -> Drawing | None:
    """Draw rFID against decode speed in grey, sizes of one model joined; None without both."""
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
        f"{how}, hardware {hardware}\nSource: {sources}",
        "decode images/s (log)",
        "rFID ↓",
        higher=False,
    )
    return draw_panels("published-figure", "Published rFID and speed", [panel], Palette(()))


def _model(row: PublishedRow) -> str:
    """Name a model without its size: SSDD of SSDD-S and SSDD-M."""
    steps = ", 1 step" if row.steps == 1 and "1 step" in row.model else ""
    return row.model.removesuffix(", 1 step").rstrip("SBMLHX").rstrip(" -") + steps
