"""Many results: a report of a thousand, and the shortcuts that it takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssdd_bench.report import gallery
from ssdd_bench.report.build import build_report
from ssdd_bench.report.frame import to_csv
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.page import build_page
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import save_result

IMAGES = [f"{index:02}.jpg" for index in range(35)]


def write_many(make_result: Callable[..., Result], folder: Path, tokenizers: int) -> None:
    """Write results with scores: tokenizers by five resolutions by five seeds."""
    rng = np.random.default_rng(0)
    (folder / "scores").mkdir()
    for place in range(tokenizers):
        for resolution in (64, 128, 256, 384, 512):
            for seed in range(5):
                result = make_result(
                    f"t{place % 8}:width={place}", resolution, 1.0 + place,
                    {"psnr": rng.uniform(20, 30), "ssim": rng.uniform(0.5, 0.9)},
                    n=len(IMAGES), seed=seed, note="",
                    fingerprint=f"{place:021x}{resolution:021x}{seed:022x}",
                )  # fmt: skip
                result = replace(
                    result,
                    scores=f"scores/{result.fingerprint}.parquet",
                    data=replace(result.data, pixels_sha256=f"{resolution:064}"),
                )
                save_result(result, folder)
                scores = {key: rng.uniform(20, 30, len(IMAGES)) for key in ("psnr", "ssim")}
                table = pd.DataFrame({"id": IMAGES, **scores})
                table.to_parquet(folder / result.scores, index=False)


@pytest.mark.timing
def test_a_thousand_results_are_reported_soon(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    """All but the figures: matplotlib takes about as long as all else together."""
    write_many(make_result, tmp_path, 40)
    started = time.perf_counter()
    source = load_source([tmp_path])
    assert len(source.frame) == 1000
    assert to_markdown(build_tables(source.frame))
    assert to_csv(source.frame)
    assert build_page(source, {}, "psnr")
    assert time.perf_counter() - started < 10
    started = time.perf_counter()
    build_report(source, {}, "psnr", tmp_path / "report")
    assert time.perf_counter() - started < 40


def scores_of(*values: float, first: int = 0) -> pd.Series[float]:
    return pd.Series(values, [f"{first + index}" for index in range(len(values))], dtype=float)


def test_the_mean_over_others_is_theirs_image_by_image() -> None:
    scores = {
        "a": scores_of(1.0, 2.0, 3.0),
        "b": scores_of(0.1, 0.2, 0.3),
        "infinite": scores_of(1.0, math.inf, 1.0),
        "c": scores_of(0.7, 0.9, 1.7),
        "shifted": scores_of(5.0, 6.0, 7.0, first=1),
    }
    others = gallery._Others(scores)
    for name, mine in scores.items():
        finite = [
            each.reindex(mine.index)
            for other, each in scores.items()
            if other not in (name, "infinite")
        ]
        expected = sum(finite[1:], finite[0]) / len(finite)
        found = others.mean(name, mine.index)
        assert found is not None
        pd.testing.assert_series_equal(found, expected, check_exact=True)
    alone = gallery._Others({"a": scores["a"]})
    assert alone.mean("a", scores["a"].index) is None
    assert alone.mean("infinite", scores["a"].index) is not None


def test_pictures_that_have_no_room_are_not_encoded(
    write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"jpeg:quality={place}": [30.0, 31.0, 32.0] for place in range(1, 21)}
    source = load_source([write_run(many)])
    (whole,) = gallery.build_sets(source)
    size = len(whole.photos[0].reference)
    encoded = []
    encode = gallery._encode

    def counted(pixels: np.ndarray) -> str:
        encoded.append(1)
        return encode(pixels)

    monkeypatch.setattr(gallery, "_encode", counted)
    assert gallery.build_sets(source, budget=3 * size) == []
    assert len(encoded) < 10
