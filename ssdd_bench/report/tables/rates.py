"""Compression rates: their text, and the sections of a table that they make."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ssdd_bench.report.tables.model import MISSING


def format_rate(row: Any) -> str:
    """Write the size of a row's latent per pixel, in floats or bits."""
    if not pd.isna(row["bits_per_pixel"]):
        return f"{row['bits_per_pixel']:.3g} bit"
    if not pd.isna(row["floats_per_pixel"]):
        return f"{row['floats_per_pixel']:.3g} fl"
    return MISSING


def sections_by_rate(rows: pd.DataFrame) -> dict[str, str]:
    """Find each row's section by name, in the order of rows: least compressed first."""
    section = pd.Series([_section(row) for row in rows.itertuples()], rows.index, dtype=object)
    ordered = rows.assign(section=section).sort_values(["section", "id", "steps"], kind="stable")
    return {name: text for name, (_, text) in zip(ordered["name"], ordered["section"], strict=True)}


def _section(row: Any) -> tuple[tuple[int, float], str]:
    """Return the sort key and the heading of a row's section."""
    if row.role == "control":
        return (4, 0.0), "controls"
    if not pd.isna(row.floats_per_pixel):
        rate = row.floats_per_pixel
        heading = f"f{row.f}c{row.channels}: {rate:.3g} floats per pixel (1/{3 / rate:.3g} of RGB)"
        return (1, -rate), heading
    if pd.isna(row.bits_per_pixel):
        return (3, 0.0), "latents of unknown size"
    if not pd.isna(row.tokens):
        rate = row.bits_per_pixel
        return (2, -rate), f"f{row.f}, tokens: {rate:.3g} bits per pixel (1/{24 / rate:.3g} of RGB)"
    return (3, 0.0), "byte streams"


def span_of_rates(texts: pd.Series[str]) -> str:
    """Return one text where all are equal, else the first and the last."""
    distinct = list(dict.fromkeys(texts))
    numbers = sorted(distinct, key=lambda text: float(text.split()[0]) if text[0].isdigit() else 0)
    return numbers[0] if len(numbers) == 1 else f"{numbers[0].split()[0]}–{numbers[-1]}"
