"""Groups of rows: which are pooled over seeds, and which stay apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.results.schema import MetricValue, Result

Make = Callable[..., Result]


def test_means_and_ranges_take_the_place_of_the_rows(make_result: Make) -> None:
    results = [
        make_result("a", seed=seed, metrics={"psnr": value}, decode_ips=speed)
        for seed, value, speed in ((3, 20.0, 4.0), (1, 21.0, 5.0), (2, 25.0, 9.0))
    ]
    images = [pd.Series([20.0 + i, 30.0 + i], ["x", "y"]) for i in range(3)]
    frame = to_frame(results, [{"psnr": one} for one in images])
    (row,) = pool_seeds(frame).to_dict("records")
    assert row["psnr"] == 22.0
    assert row["decode_ips"] == 6.0
    assert row["seeds"] == (1, 2, 3)
    assert (row["psnr_least"], row["psnr_greatest"]) == (20.0, 25.0)
    assert list(row["scores"]["psnr"]) == [21.0, 31.0]
    assert len(frame) == 3
    assert "seeds" not in frame


def test_pooled_once_is_pooled(make_result: Make) -> None:
    pooled = pool_seeds(to_frame([make_result("a", seed=seed) for seed in (0, 1)]))
    assert pool_seeds(pooled) is pooled


def other_weights(result: Result) -> Result:
    return replace(result, tokenizer=replace(result.tokenizer, weights={"w": "another"}))


def other_metrics(result: Result) -> Result:
    gone = replace(result.metrics["psnr"], value=None, unavailable="no weights")
    return replace(result, metrics={**result.metrics, "psnr": gone})


@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        other_metrics,
        lambda result: replace(result, seed=0),
        lambda result: replace(result, resolution=128),
        lambda result: replace(result, data=replace(result.data, pixels_sha256="other")),
        lambda result: replace(result, execution=replace(result.execution, device="cuda")),
        lambda result: replace(result, steps=7),
    ],
)
def test_what_differs_in_more_than_the_seed_stays_apart(
    make_result: Make, change: Callable[[Result], Result]
) -> None:
    first = make_result("a", seed=0)
    assert len(pool_seeds(to_frame([first, replace(first, seed=1)]))) == 1
    pooled = pool_seeds(to_frame([first, change(replace(first, seed=1))]))
    assert len(pooled) == 2
    assert {len(seeds) for seeds in pooled["seeds"]} == {1}


def test_the_order_of_rows_and_types_of_columns_stay(make_result: Make) -> None:
    frame = to_frame([make_result(label, seed=seed) for label in "cab" for seed in (0, 1)])
    pooled = pool_seeds(frame)
    assert list(pooled["label"]) == ["a", "b", "c"]
    assert all(pooled.dtypes[column] == frame.dtypes[column] for column in frame)
    assert pooled.attrs == frame.attrs


def test_lossless_stays_infinite(make_result: Make) -> None:
    def lossless(seed: int) -> Result:
        psnr = MetricValue(None, 28, True, "test", infinite=28)
        return replace(make_result("a", seed=seed), metrics={"psnr": psnr})

    (value,) = pool_seeds(to_frame([lossless(0), lossless(1)]))["psnr"]
    assert math.isinf(value)
