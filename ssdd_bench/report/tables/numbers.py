"""Formats of numbers and headings, the same in tables, figures and terminal."""

from __future__ import annotations

import math
from typing import Any, Final

import pandas as pd

from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.report.tables.model import MISSING

NEGLIGIBLE: Final = 1e-9  # what rounding leaves of a distance between equal sets; shown as 0


def metric_name(key: str) -> str:
    """Write a metric as papers do, if they agree on how."""
    info = METRICS.all().get(key)
    return (info and info.name) or key


def metric_heading(key: str, higher_is_better: bool, n: int | None = None) -> str:
    """Head a metric's column with its name, an arrow, and the number of images if it matters."""
    info = METRICS.all().get(key)
    at = f"@{n}" if n is not None and info and info.depends_on_n else ""
    return f"{metric_name(key)}{at} {'↑' if higher_is_better else '↓'}"


def format_metric(key: str, value: float) -> str:
    """Write a metric's value with its own decimals, or four digits."""
    info = METRICS.all().get(key)
    if info and info.decimals is not None and math.isfinite(value):
        return f"{value:.{info.decimals}f}"
    return format_number(value)


def format_number(value: float) -> str:
    """Write four significant digits, without an exponent where that stays readable."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < NEGLIGIBLE:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def format_short(value: Any) -> str:
    """Write three significant digits, and no exponent of large numbers."""
    if pd.isna(value):
        return MISSING
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def format_speed(median: float, low: float, high: float) -> str:
    """Write median images/s and half the interquartile range."""
    if math.isnan(median):
        return MISSING
    digits = max(0, 2 - math.floor(math.log10(median)))
    return f"{median:.{digits}f} ±{(high - low) / 2:.{digits}f}"
