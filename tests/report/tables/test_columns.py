"""Numbers, rates and headings of columns, each by its exact text."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.report.tables.columns import (
    format_metric,
    format_rate,
    format_short,
    format_speed,
    metric_heading,
    metric_name,
    scores,
    sections_by_rate,
    speeds,
    spreads,
)
from ssdd_bench.report.tables.model import MISSING, Cell

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("psnr", 24.125, "24.12"),
        ("psnr", INF, "∞"),
        ("psnr", -INF, "-∞"),
        ("psnr", NAN, MISSING),
        ("unknown", 24.125, "24.12"),
        ("unknown", 0.82, "0.8200"),
        ("unknown", 0.0, "0"),
        ("unknown", 0.001, "0.001000"),
        ("unknown", 0.0009996, "1.00e-03"),
        ("unknown", 1e-9, "1.00e-09"),
        ("unknown", -9e-10, "0"),
        ("unknown", 999.96, "1000"),
        ("unknown", 1000.4, "1000"),
        ("unknown", 1000.0, "1000"),
        ("unknown", -1234.6, "-1235"),
    ],
)
def test_metrics(key: str, value: float, text: str) -> None:
    assert format_metric(key, value) == text


@pytest.mark.parametrize(
    ("value", "short", "speed"),
    [
        (0.01234, "0.0123", "0.0123"),
        (1.0, "1", "1.00"),
        (9.994, "9.99", "9.99"),
        (10.0, "10", "10.0"),
        (99.94, "99.9", "99.9"),
        (123.4, "123", "123"),
        (999.4, "999", "999"),
        (1000.4, "1000", "1000"),
        (23456.7, "23457", "23457"),
        (NAN, MISSING, MISSING),
    ],
)
def test_three_digits(value: float, short: str, speed: str) -> None:
    assert (format_short(value), format_speed(value)) == (short, speed)


def test_names_and_headings() -> None:
    assert (metric_name("psnr"), metric_name("rfid"), metric_name("own")) == ("PSNR", "rFID", "own")
    assert metric_heading("psnr", True, 5) == "PSNR ↑"
    assert metric_heading("rfid", False, 5) == "rFID@5 ↓"
    assert metric_heading("rfid", False) == "rFID ↓"
    assert metric_heading("own", True, 5) == "own ↑"


@pytest.mark.parametrize(
    ("bits", "floats", "text"),
    [
        (0.12345, 0.5, "0.123 bit"),
        (NAN, 0.0625, "0.0625 fl"),
        (NAN, NAN, MISSING),
    ],
)
def test_rates(bits: float, floats: float, text: str) -> None:
    assert format_rate({"bits_per_pixel": bits, "floats_per_pixel": floats}) == text


def rate(name: str, floats: float = NAN, bits: float = NAN, tokens: float = NAN, **more: object):
    plain = {"id": name, "steps": 1, "role": "tokenizer", "f": 8, "channels": 4}
    return {**plain, "floats_per_pixel": floats, "bits_per_pixel": bits, "tokens": tokens, **more}


def test_sections_from_the_least_compressed_to_controls() -> None:
    rows = [
        rate("control", 1.0, role="control"),
        rate("stream", bits=0.5),
        rate("unknown", tokens=4),
        rate("few", bits=0.0625, tokens=4, f=16),
        rate("many", bits=0.5, tokens=4),
        rate("small", 1 / 16, f=16, channels=16),
        rate("row", bits=0.005859375, tokens=32, f=0),
        rate("long", 1 / 32, f=0, channels=16, tokens=128),
        rate("b", 0.25, steps=2),
        rate("b", 0.25, steps=1),
        rate("a", 0.25, steps=3),
    ]
    found = sections_by_rate(pd.DataFrame(rows))
    assert list(found.items()) == [
        (10, "f8c4: 0.25 floats per pixel (1/12 of RGB)"),
        (9, "f8c4: 0.25 floats per pixel (1/12 of RGB)"),
        (8, "f8c4: 0.25 floats per pixel (1/12 of RGB)"),
        (5, "f16c16: 0.0625 floats per pixel (1/48 of RGB)"),
        (7, "128 tokens, c16: 0.0312 floats per pixel (1/96 of RGB)"),
        (4, "f8, tokens: 0.5 bits per pixel (1/48 of RGB)"),
        (3, "f16, tokens: 0.0625 bits per pixel (1/384 of RGB)"),
        (6, "32 tokens: 0.00586 bits per pixel (1/4096 of RGB)"),
        (1, "byte streams"),
        (2, "latents of unknown size"),
        (0, "controls"),
    ]


ROW = {
    **{"psnr": 20.0, "psnr_low": 19.0, "psnr_high": 21.5, "psnr_least": 18.0},
    **{"psnr_greatest": 22.0, "rfid": 3.0, "rfid_low": NAN, "rfid_high": 4.0, "rfid_least": NAN},
    **{"rfid_greatest": 1.0, "batch": 8, "decode_ms": 12.25, "decode_baseline": "base"},
    **{"decode_ratio": 1.234, "decode_ratio_low": 1.1, "decode_ratio_high": 1.4},
    **{"fidelity_psnr": INF, "fidelity_difference": 0.5, "gmac_model": NAN, "gmac_decode": 1.5},
    **{"peak_memory_bytes": 2_400_000, "model_ips": NAN, "model_ips_q1": NAN, "model_ips_q3": NAN},
    **{"encode_ips": 100.0, "encode_ips_q1": 95.0, "encode_ips_q3": 109.0},
    **{"decode_ips": 9.5, "decode_ips_q1": 9.0, "decode_ips_q3": 9.5},
    **{"device": "cpu", "threads": 2, "dtype": "float32", "compile": "off"},
}


def test_columns_of_scores_and_of_their_spread() -> None:
    psnr, rfid = scores({"psnr": True, "rfid": False}, 5)
    assert (psnr.key, psnr.heading, psnr.values, psnr.notes) == (
        "psnr",
        "PSNR ↑",
        ("psnr",),
        "psnr",
    )
    assert (psnr.higher_is_better, rfid.higher_is_better) == (True, False)
    assert psnr.is_score
    assert rfid.heading == "rFID@5 ↓"
    assert psnr.cell(ROW) == Cell("20.00", "", "95% interval 19.00 to 21.50")
    assert rfid.cell(ROW) == Cell("3.000")
    assert psnr.cell({**ROW, "psnr": NAN}) == Cell(MISSING)
    assert [one.heading for one in scores({"rfid": False})] == ["rFID ↓"]
    info = METRICS.all()
    main = {one.key: one.main for one in scores(dict.fromkeys([*info, "own"], True))}
    assert main == {"own": True} | {key: info[key].default_for != "none" for key in info}
    assert set(main.values()) == {True, False}
    found = {
        one.heading: (one.key, one.cell(ROW)) for one in spreads({"psnr": True, "rfid": False})
    }
    assert found == {
        "PSNR, seeds": ("psnr", Cell("18.00 to 22.00")),
        "PSNR, 95% of images": ("psnr 95%", Cell("19.00 to 21.50")),
        "rFID, seeds": ("rfid", Cell(MISSING)),
        "rFID, 95% of images": ("rfid 95%", Cell(MISSING)),
    }
    wide = {**ROW, "psnr_least": -0.123, "psnr_greatest": 100.127}  # decibels have two decimals
    (seeds, _) = spreads({"psnr": True})
    assert seeds.cell(wide) == Cell("-0.12 to 100.13")


def test_columns_of_speeds() -> None:
    other = {**ROW, "batch": 16, "decode_baseline": "", "fidelity_difference": 0.0}
    found = {one.key: one for one in speeds(pd.DataFrame([ROW, other]))}
    assert {key: one.cell(ROW) for key, one in found.items()} == {
        "model img/s": Cell(MISSING),
        "encode img/s": Cell("100", "±7", "quartiles 95.0 to 109"),
        "decode img/s": Cell("9.50", "±0.25", "quartiles 9.00 to 9.50"),
        "decode ms": Cell("12.25"),
        "batch": Cell("8"),
        "decode / base": Cell("1.23", "(1.10 to 1.40)", "95% interval 1.10 to 1.40"),
        "fidelity dB": Cell("∞"),
        "model GMAC": Cell(MISSING),
        "decode GMAC": Cell("1.5"),
        "memory MB": Cell("2"),
    }
    assert all(key == one.heading for key, one in found.items())
    assert found["decode / base"].cell(other) == Cell(MISSING)
    assert found["memory MB"].cell({**ROW, "peak_memory_bytes": pd.NA}) == Cell(MISSING)
    directions = {key: one.higher_is_better for key, one in found.items()}
    assert {key for key, way in directions.items() if way} == {
        *("model img/s", "encode img/s", "decode img/s"),
    }
    assert {key for key, way in directions.items() if way is False} == {"decode ms"}
    assert not any(one.is_score for one in found.values())
    assert {one.key for one in found.values() if not one.main} == {
        *("fidelity dB", "model GMAC", "decode GMAC", "memory MB"),
    }
    assert {one.key: one.notes for one in found.values() if one.notes} == {
        "decode img/s": "decode_ips"
    }
    alike = {**ROW, "batch": 1, "decode_baseline": "", "fidelity_difference": 0.0}
    assert [one.key for one in speeds(pd.DataFrame([alike, alike]))] == [
        *("model img/s", "encode img/s", "decode img/s", "model GMAC", "decode GMAC", "memory MB"),
    ]
