"""Rules of ranking by exact values: who is best, by how much, and what is noise."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ssdd_bench.report.frame import _METRICS
from ssdd_bench.report.ranking import (
    best_two,
    compare_with_best,
    is_baseline,
    is_eligible,
    is_ranked,
    is_tied,
)

INF, NAN = math.inf, math.nan
HALF = 1.959963984540054  # of a 95% interval of a normal distribution with deviation 1


def frame_of(values: list[float], **columns: list[object]) -> pd.DataFrame:
    nothing = [NAN] * len(values)
    frame = pd.DataFrame(
        {"psnr": values, "psnr_low": nothing, "psnr_high": nothing, "role": "tokenizer"}
        | {"scores": [{} for _ in values]}
        | columns,
        index=[10 * (1 + i) for i in range(len(values))],
    )
    frame.attrs[_METRICS] = {"psnr": True}
    return frame


@pytest.mark.parametrize(
    ("roles", "eligible", "baseline"),
    [
        (["tokenizer", "codec", "control"], [1, 1, 0], [0, 1, 1]),
        (["codec", "control"], [1, 0], [0, 0]),
        (["codec", "codec"], [1, 1], [0, 0]),
        (["control", "tokenizer"], [0, 1], [1, 0]),
    ],
)
def test_roles(roles: list[str], eligible: list[int], baseline: list[int]) -> None:
    rows = frame_of([1.0] * len(roles), role=roles)
    assert is_eligible(rows).tolist() == list(map(bool, eligible))
    assert is_baseline(rows).tolist() == list(map(bool, baseline))
    both = [bool(may and not beside) for may, beside in zip(eligible, baseline, strict=True)]
    assert is_ranked(rows).tolist() == both


def test_infinite_scores_are_not_eligible() -> None:
    rows = frame_of([1.0, INF, -INF, NAN])
    assert is_eligible(rows).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("values", "texts", "higher", "best", "second"),
    [
        ([1, 3, 2], "abc", True, {1}, {2}),
        ([1, 3, 2], "abc", False, {0}, {2}),
        ([1, 3, 2], "abb", True, {1, 2}, {0}),
        ([1, 2, 3], "aab", True, {2}, {0, 1}),
        ([1, 2, 3], "aaa", True, {0, 1, 2}, set()),
        ([1, 3], "ab", True, {1}, set()),
        ([1, 3, NAN], "abc", True, {1}, set()),
        ([1, 3, INF], "abc", True, {1}, {0}),
        ([1], "a", True, set(), set()),
        ([1, NAN], "ab", True, set(), set()),
        ([1, INF], "ab", True, {0}, set()),
        ([], "", True, set(), set()),
    ],
)
def test_the_best_two(
    values: list[float], texts: str, higher: bool, best: set[int], second: set[int]
) -> None:
    found = best_two(pd.Series(values, dtype=float), dict(enumerate(texts)), higher)
    assert found == (best, second)


def test_differences_from_intervals() -> None:
    """Half intervals of 3, 4 and nothing: errors of independent means add up as squares."""
    rows = frame_of(
        [20.0, 25.0, 22.0, INF, NAN],
        psnr_low=[20 - 3 * HALF, 25 - 4 * HALF, NAN, NAN, NAN],
        psnr_high=[20 + 3 * HALF, 25 + 4 * HALF, NAN, NAN, NAN],
    )
    found = compare_with_best(rows, "psnr", True)
    assert list(found) == [30, 10]
    assert found[10] == (-5.0, pytest.approx(5.0))
    assert found[30][0] == -3.0
    assert math.isnan(found[30][1])
    found = compare_with_best(rows, "psnr", False)
    assert list(found) == [30, 20]
    assert found[20] == (5.0, pytest.approx(5.0))
    assert compare_with_best(rows.iloc[3:], "psnr", True) == {}
    assert compare_with_best(rows.iloc[:1], "psnr", True) == {}


def test_differences_image_by_image() -> None:
    """Differences of 1, 2 and 3: mean 2 and standard error 1 / sqrt(3)."""
    best = pd.Series([20.0, 30.0, 40.0, INF, 1.0], list("abcde"))
    rows = frame_of(
        [30.0, 28.0, 27.0, 26.0],
        psnr_low=[30 - HALF] * 4,
        psnr_high=[30 + HALF] * 4,
        scores=[
            {"psnr": best},
            {"psnr": best - [1, 2, 3, 0, np.inf]},
            {"psnr": best.iloc[:4]},  # of other images
            {},
        ],
    )
    found = compare_with_best(rows, "psnr", True)
    rows.at[30, "scores"] = {"psnr": best.rename({"a": "other"})}  # as many
    assert compare_with_best(rows, "psnr", True) == found
    assert found[20] == (-2.0, pytest.approx(3**-0.5))
    assert found[30] == (-3.0, pytest.approx(2**0.5))
    assert found[40] == (-4.0, pytest.approx(2**0.5))
    rows.at[10, "scores"] = {}
    assert compare_with_best(rows, "psnr", True)[20] == (-2.0, pytest.approx(2**0.5))


def test_a_pooled_psnr_is_compared_by_the_errors_of_images() -> None:
    """All images lose alike, so the loss is certain, though images differ by 10 dB."""
    rng = np.random.default_rng(0)
    psnrs = [rng.normal(25, 5, 200)]
    psnrs += [psnrs[0] + rng.normal(-0.2, 0.5, 200)]
    values = [-10 * np.log10(np.mean(10 ** (-one / 10))) for one in psnrs]
    wide = {"psnr_pooled_low": [one - 1 for one in values]}
    wide |= {"psnr_pooled_high": [one + 1 for one in values]}
    scores = [{"psnr": pd.Series(one)} for one in psnrs]
    rows = frame_of(values, **wide, scores=scores).assign(psnr_pooled=values)
    difference, error = compare_with_best(rows, "psnr_pooled", True)[20]
    assert difference == pytest.approx(values[1] - values[0])
    drawn = rng.integers(0, 200, (4000, 200))
    means = [np.mean(10 ** (-one[drawn] / 10), axis=1) for one in psnrs]
    assert error == pytest.approx(np.std(10 * np.log10(means[0] / means[1])), rel=0.1)
    assert not is_tied(difference, error)
    rows["scores"] = [{"mse": 10 ** (-one / 10)} for one in map(pd.Series, psnrs)]
    assert compare_with_best(rows, "psnr_pooled", True)[20] == pytest.approx((difference, error))
    rows["scores"] = [{}, {}]
    assert is_tied(*compare_with_best(rows, "psnr_pooled", True)[20])


def test_a_tie_is_less_than_two_standard_errors() -> None:
    differences, errors = np.array([1.9, 2.0, -1.9, -2.1, 0.0, 1.0]), np.array([1.0] * 5 + [NAN])
    assert is_tied(differences, errors).tolist() == [True, False, True, False, True, False]
    assert not is_tied(0.0, 0.0)
