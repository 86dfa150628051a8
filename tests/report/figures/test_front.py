"""Noise of scores and speeds, and the front that allows for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ssdd_bench.report.figures.front import (
    INTERVAL,
    PAIRED,
    SEEDS,
    Quality,
    judge_quality,
    pareto_front,
)
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.results.schema import Result

Make = Callable[..., Result]
IMAGES = [f"{i}.jpg" for i in range(28)]
HARD = np.random.default_rng(0).normal(25, 4, len(IMAGES))  # PSNR that all share
NOISE = np.random.default_rng(1).normal(0, 1, (4, len(IMAGES)))


def frame_of(
    make: Make, scores: Mapping[str, np.ndarray], speeds: Mapping[str, float]
) -> pd.DataFrame:
    results = [
        make(name, 64, speeds[name], {"psnr": float(each.mean())}, fingerprint=f"{i:064}")
        for i, (name, each) in enumerate(scores.items())
    ]
    single = [{"psnr": pd.Series(each, IMAGES)} for each in scores.values()]
    return to_frame(results, single)


def on_front(frame: pd.DataFrame) -> set[str]:
    front = pareto_front(frame, judge_quality(frame, "psnr"))
    return set(frame["label"][front])


def test_a_smaller_rate_is_the_better_one(make_result: Make) -> None:
    """Rates have no noise: the smaller of two that tie in quality is alone on the front."""
    scores = {"a": HARD, "b": HARD + 0.05 + 0.3 * NOISE[1], "best": HARD + 3 + 0.1 * NOISE[2]}
    frame = frame_of(make_result, scores, dict.fromkeys(scores, 10))
    quality = judge_quality(frame, "psnr")

    def front(*rates: float) -> set[str]:
        rated = frame.assign(bits_per_pixel=rates)
        return set(frame["label"][pareto_front(rated, quality, "bits_per_pixel")])

    assert front(1, 1, 1) == {"best"}
    assert front(1, 1, 2) == {"a", "b", "best"}
    assert front(1, 1.01, 2) == {"a", "best"}
    assert front(3, 3, 2) == {"best"}


def test_controls_are_not_on_the_front_and_beat_nothing(make_result: Make) -> None:
    scores = {"a": HARD, "best": HARD + 3 + 0.1 * NOISE[0]}
    frame = frame_of(make_result, scores, {"a": 10, "best": 90})
    assert on_front(frame) == {"best"}
    frame.loc[frame["label"] == "best", "role"] = "control"
    assert on_front(frame) == {"a"}


def test_ranges_over_seeds_tie_where_they_overlap(make_result: Make) -> None:
    results = [
        replace(
            make_result(
                name, metrics={"psnr": start + seed}, seed=seed, fingerprint=f"{i}{seed:063}"
            ),
        )
        for i, (name, start) in enumerate((("a", 20.0), ("b", 21.5), ("c", 29.0)))
        for seed in (0, 1, 2)
    ]
    results = [
        replace(one, metrics={"psnr": replace(one.metrics["psnr"], interval=None)})
        for one in results
    ]
    quality = judge_quality(pool_seeds(to_frame(results)), "psnr")
    assert quality.kind == SEEDS
    assert quality.ahead.tolist() == [[0, 0, -1], [0, 0, -1], [1, 1, 0]]
    assert quality.ends()[0] == (20.0, 22.0)


def test_scores_without_noise_differ_as_soon_as_they_are_unequal(make_result: Make) -> None:
    results = [
        make_result(name, fingerprint=f"{i:064}", metrics={"fd_effnet": value})
        for i, (name, value) in enumerate((("a", 9.0), ("b", 9.01), ("c", 9.0)))
    ]
    quality = judge_quality(to_frame(results), "fd_effnet")
    assert (quality.kind, quality.ends()) == ("", [None] * 3)
    assert quality.ahead.tolist() == [[0, 1, 0], [-1, 0, -1], [0, 1, 0]]


def rows_of(scores: list[list[float]], **columns: list[object]) -> pd.DataFrame:
    """Rows with scores of single images alone."""
    single = [{"mse": pd.Series(each, [*"wxyz"][: len(each)])} for each in scores]
    means = [float(np.mean(np.array(each)[np.isfinite(each)])) for each in scores]
    frame = pd.DataFrame({"mse": means, "role": "tokenizer", "scores": single} | columns)
    frame.attrs["higher_is_better"] = {"mse": False}
    return frame


def test_bars_and_ties_by_exact_values() -> None:
    """Differences of 1, 2, 3 and 4 have an error of 0.65, those of 0, 4, 0 and 0 one of 1."""
    scores = [[5.0, 9.0, 1.0, 3.0], [6.0, 11.0, 4.0, 7.0], [5.0, 13.0, 1.0, 3.0]]
    quality = judge_quality(rows_of(scores), "mse")
    assert quality.ahead.tolist() == [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]
    values = np.array(scores)
    own = values - values.mean(0)
    half = 1.959963984540054 * np.sqrt((own - own.mean(1, keepdims=True)).__pow__(2).sum(1) / 3 / 4)
    np.testing.assert_allclose(quality.low, values.mean(1) - half)
    np.testing.assert_allclose(quality.high, values.mean(1) + half)
    assert quality.kind == PAIRED
    assert quality.ahead.dtype == np.int8


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ([[1.0, 2.0], [1.0, 3.0]], PAIRED),
        ([[1.0, 2.0]], ""),
        ([[1.0], [2.0]], ""),
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], ""),
        ([[1.0, 2.0], [1.0, np.inf]], ""),
        ([[1.0, 2.0], [1.0, np.nan]], ""),
    ],
)
def test_single_scores_serve_where_all_rows_have_the_same(
    scores: list[list[float]], kind: str
) -> None:
    assert judge_quality(rows_of(scores), "mse").kind == kind
    rows = rows_of(scores)
    rows.at[len(scores) - 1, "scores"] = {}
    assert judge_quality(rows, "mse").kind == ""


def test_intervals_go_before_seeds_and_tie_below_two_errors() -> None:
    """Half intervals of 3 and 4 are errors of 5 together: less than 10 is a tie."""
    half = 1.959963984540054 * np.array([3.0, 4.0, 0.0])
    for value, expected in ((9.9, 0), (10.1, 1)):
        values = np.array([0.0, value, 50.0])
        ends = {"mse_low": values - half, "mse_high": values + half}
        rows = rows_of(
            [[one] for one in values], mse_least=[0.0] * 3, mse_greatest=[99.0] * 3, **ends
        )
        quality = judge_quality(rows, "mse")
        assert quality.kind == INTERVAL
        assert quality.ahead.tolist() == [[0, expected, 1], [-expected, 0, 1], [-1, -1, 0]]
        assert quality.ends()[1] == pytest.approx((value - half[1], value + half[1]))
        rows["mse_low"] = [np.nan, 0.0, 0.0]
        quality = judge_quality(rows, "mse")
        assert (quality.kind, quality.ends()) == (SEEDS, [(0.0, 99.0)] * 3)
        assert not quality.ahead.any()


@pytest.mark.parametrize(
    ("ahead", "speeds", "front"),
    [
        ([[0, 1], [-1, 0]], [(1, 1, 1), (1, 1, 1)], [1, 0]),
        ([[0, 0], [0, 0]], [(1, 1, 1), (1, 1, 1)], [1, 1]),
        ([[0, 0], [0, 0]], [(1, 1, 1), (2, 2, 2)], [0, 1]),
        ([[0, 1], [-1, 0]], [(1, 1, 1), (2, 2, 2)], [1, 1]),
        ([[0, 0], [0, 0]], [(1, 0, 2), (2, 2, 3)], [1, 1]),  # quartiles that touch
        ([[0, 0], [0, 0]], [(1, 0, 1.9), (2, 2, 3)], [0, 1]),
        ([[0, 0], [0, 0]], [(1, 0, np.nan), (2, np.nan, 3)], [0, 1]),
        ([[0, 1], [-1, 0]], [(2, 2, 2), (1, 1, 1)], [1, 0]),
    ],
)
def test_the_front_of_two(
    ahead: list[list[int]], speeds: list[tuple[float, ...]], front: list[int]
) -> None:
    columns = zip(
        ("decode_ips", "decode_ips_q1", "decode_ips_q3"), zip(*speeds, strict=True), strict=True
    )
    rows = rows_of([[1.0], [1.0]], **{key: list(each) for key, each in columns})
    rows.index = pd.Index([7, 9])
    nothing = np.full(2, np.nan)
    found = pareto_front(rows, Quality(nothing, nothing, "", np.array(ahead, np.int8)))
    assert found.to_dict() == {7: bool(front[0]), 9: bool(front[1])}
