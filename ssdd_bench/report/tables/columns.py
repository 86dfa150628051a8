"""Columns of values from the frame, with their headings and numbers, and sections of rows.

Figures and the terminal write numbers and names of metrics in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pandas as pd

from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.report.groups import describe_hardware
from ssdd_bench.report.tables.model import MISSING, Cell

NEGLIGIBLE: Final = 1e-9  # what rounding leaves of a distance between equal sets; shown as 0


@dataclass(frozen=True)
class Interval:
    """The columns of the frame that hold an interval, and how it is written."""

    low: str
    high: str
    words: str  # "95% interval" or "quartiles"
    write: Callable[[float], str]  # formats an end
    spread: Callable[[float, float, float], str] | None = None  # formats value and ends
    explanation: str = ""  # of the spread, for the caption

    def of(self, row: Any) -> tuple[float, float] | None:
        """Return both ends, None where they are unknown."""
        ends = float(row[self.low]), float(row[self.high])
        return ends if all(map(math.isfinite, ends)) else None


@dataclass(frozen=True)
class Measure:
    """A column of measured values."""

    key: str  # a metric's key, or the heading
    heading: str
    values: tuple[str, ...]  # columns of the frame, of which the first ranks the rows
    write: Callable[..., str]  # formats these values of one row
    higher_is_better: bool | None = None  # direction of the ranks; None for no ranks
    notes: str = ""  # column of the frame whose footnotes belong here
    is_score: bool = False  # a metric, which may tie; else the value depends on the machine
    interval: Interval | None = None
    main: bool = True  # see Column
    explanation: str = ""  # for the caption

    def cell(self, row: Any) -> Cell:
        """Format the values of a row, and its interval."""
        text = self.write(*(row[value] for value in self.values))
        ends = self.interval.of(row) if self.interval and text != MISSING else None
        if not ends or not self.interval:
            return Cell(text)
        low, high = map(self.interval.write, ends)
        value = row[self.values[-1]]
        spread = self.interval.spread(value, *ends) if self.interval.spread else ""
        return Cell(text, spread, f"{self.interval.words} {low} to {high}")


def scores(directions: Mapping[str, bool], n: int | None = None) -> Iterator[Measure]:
    """Yield a column per metric, with the number of images in headings of distances if given."""
    for key, higher in directions.items():
        heading, write = metric_heading(key, higher, n), partial(format_metric, key)
        interval = Interval(f"{key}_low", f"{key}_high", "95% interval", write)
        info = METRICS.all().get(key)
        main = info is None or info.default_for != "none"
        yield Measure(key, heading, (key,), write, higher, key, True, interval, main)


def spreads(directions: Mapping[str, bool]) -> Iterator[Measure]:
    """Yield two columns per metric: the range over seeds and the 95% interval over images."""
    for key in directions:
        name, write = metric_name(key), partial(_format_ends, key)
        yield Measure(
            *(key, f"{name}, seeds", (f"{key}_least", f"{key}_greatest"), write),
            explanation="Seeds: least and greatest.",
        )
        yield Measure(
            *(f"{key} 95%", f"{name}, 95% of images", (f"{key}_low", f"{key}_high"), write),
            explanation="95% of images: intervals over images, averaged over the seeds.",
        )


def speeds(rows: pd.DataFrame) -> Iterator[Measure]:
    """Yield columns of images/s, arithmetic and memory; these depend on the resolution.

    The batch, latency, ratio to a baseline and difference from float32 are shown where some of
    the rows differ in them.
    """
    machines = describe_hardware(rows)
    where = machines[0] if len(machines) == 1 else "the machine in each row, unranked"
    batches = ", ".join(map(str, sorted(set(rows["batch"].dropna()))))
    words = f"Images/s: median, batch {batches}, on {where}."
    half = "±: half the interquartile range."
    for way in ("model", "encode", "decode"):
        name, notes = f"{way} img/s", "decode_ips" if way == "decode" else ""
        ends = Interval(f"{way}_ips_q1", f"{way}_ips_q3", "quartiles", format_speed, _half, half)
        yield Measure(
            *(name, name, (f"{way}_ips",), format_speed, True, notes),
            interval=ends,
            explanation=words,
        )
    if rows.loc[rows["batch"] > 1, "decode_ms"].notna().any():
        yield Measure(
            *("decode ms", "decode ms", ("decode_ms",), format_number, False),
            explanation="Decode ms: latency of a single image.",
        )
    if rows["batch"].nunique() > 1:
        yield Measure("batch", "batch", ("batch",), format_short)
    for baseline in dict.fromkeys(filter(None, rows["decode_baseline"])):
        heading, ratio = f"decode / {baseline}", ("decode_baseline", "decode_ratio")
        ends = Interval(
            *("decode_ratio_low", "decode_ratio_high", "95% interval", _two, _range),
            "In brackets: its 95% interval.",
        )
        yield Measure(
            *(heading, heading, ratio, partial(_format_ratio, baseline)),
            interval=ends,
            explanation="Ratio of decoding speeds timed by turns.",
        )
    if (rows["fidelity_difference"] > 0).any():
        yield Measure(
            *("fidelity dB", "fidelity dB", ("fidelity_psnr",), format_number),
            main=False,
            explanation="Fidelity: PSNR to decoding in float32, uncompiled.",
        )
    for way in ("model", "decode"):
        name = f"{way} GMAC"
        yield Measure(
            *(name, name, (f"gmac_{way}",), format_short),
            main=False,
            explanation="GMAC: per image, convolutions and matrix products.",
        )
    yield Measure(
        *("memory MB", "memory MB", ("peak_memory_bytes",), _format_megabytes),
        main=False,
        explanation="Memory: peak while decoding.",
    )


def format_rate(row: Any) -> str:
    """Write the size of a row's latent per pixel, in bits or floats."""
    for column, unit in (("bits_per_pixel", "bit"), ("floats_per_pixel", "fl")):
        if not pd.isna(row[column]):
            return f"{row[column]:.3g} {unit}"
    return MISSING


def sections_by_rate(rows: pd.DataFrame) -> pd.Series[str]:
    """Name the section of each row, by index; in the order of rows: least compressed first."""
    known = rows[["role", "f", "channels", "tokens", "floats_per_pixel", "bits_per_pixel"]]
    section = pd.Series([_section(row) for row in known.itertuples()], rows.index, dtype=object)
    ordered = rows.assign(section=section).sort_values(["section", "id", "steps"], kind="stable")
    return ordered["section"].map(lambda one: one[1])


def _section(row: Any) -> tuple[tuple[int, float], str]:
    """Return the sort key and the heading of a row's section."""
    if row.role == "control":
        return (4, 0.0), "controls"
    if not pd.isna(row.floats_per_pixel):
        rate = row.floats_per_pixel
        size = f"f{row.f}c{row.channels}" if row.f else f"{row.tokens:.0f} tokens, c{row.channels}"
        heading = f"{size}: {rate:.3g} floats per pixel (1/{format_short(3 / rate)} of RGB)"
        return (1, -rate), heading
    if pd.isna(row.bits_per_pixel):
        return (3, 0.0), "latents of unknown size"
    if not pd.isna(row.tokens):
        rate = row.bits_per_pixel
        size = f"f{row.f}, tokens" if row.f else f"{row.tokens:.0f} tokens"
        return (2, -rate), f"{size}: {rate:.3g} bits per pixel (1/{format_short(24 / rate)} of RGB)"
    return (3, 0.0), "byte streams"


def _format_ends(key: str, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    return f"{format_metric(key, low)} to {format_metric(key, high)}"


def _format_ratio(of: str, baseline: str, ratio: float) -> str:
    return _two(ratio) if baseline == of else MISSING


def _two(value: float) -> str:
    return f"{value:.2f}"


def _range(_: float, low: float, high: float) -> str:
    return f"({_two(low)} to {_two(high)})"


def _half(speed: float, low: float, high: float) -> str:
    """Write half of the interquartile range of a speed."""
    return f"±{(high - low) / 2:.{_digits(speed)}f}"


def _format_megabytes(size: Any) -> str:
    return MISSING if pd.isna(size) else f"{size / 1e6:.0f}"


def metric_name(key: str) -> str:
    """Write a metric as papers do, if they agree on how."""
    info = METRICS.all().get(key)
    return (info and info.name) or key


def metric_title(key: str) -> str:
    """Say what a metric is; "" for what is no metric of the catalogue."""
    info = METRICS.all().get(key)
    return info.title if info else ""


def metric_unit(key: str) -> str:
    """Return the unit of a metric's values, such as dB; "" if there is none."""
    info = METRICS.all().get(key)
    return info.unit if info else ""


def metric_decimals(key: str) -> int | None:
    """Return how many decimals a metric's values have; None for four significant digits."""
    info = METRICS.all().get(key)
    return info.decimals if info else None


def metric_heading(key: str, higher_is_better: bool, n: int | None = None) -> str:
    """Head a metric's column with its name, an arrow, and the number of images if it matters."""
    info = METRICS.all().get(key)
    at = f"@{n}" if n is not None and info and info.depends_on_n else ""
    return f"{metric_name(key)}{at} {'↑' if higher_is_better else '↓'}"


def format_metric(key: str, value: float) -> str:
    """Write a metric's value with its own decimals, or four digits."""
    decimals = metric_decimals(key)
    if decimals is not None and math.isfinite(value):
        return f"{value:.{decimals}f}"
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


def format_speed(value: float) -> str:
    """Write images/s with three significant digits."""
    return MISSING if math.isnan(value) else f"{value:.{_digits(value)}f}"


def _digits(speed: float) -> int:
    """Count the decimals of three significant digits."""
    return max(0, 2 - math.floor(math.log10(speed)))
