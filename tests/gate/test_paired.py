"""Changes over the same images: the pooled PSNR by pairs of errors, and what chance does."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from ssdd_bench.gate.paired import PairedChange, paired_change

IDS = [f"{i:02}" for i in range(40)]


def psnrs(shift=0.0, spread=0.0, seed=0):
    rng = np.random.default_rng(1)
    values = rng.normal(25, 4, 40)
    return pd.Series(values + shift + np.random.default_rng(seed).normal(0, spread, 40), IDS)


def pooled(psnr):
    return -10 * np.log10(np.mean(10 ** (-psnr.to_numpy() / 10)))


def test_the_pooled_psnr_is_compared_by_pairs():
    before, after = psnrs(), psnrs(-0.1, 0.05)
    found = paired_change({"psnr": before}, {"psnr": after}, "psnr_pooled")
    assert found.change == pytest.approx(pooled(after) - pooled(before))
    low, high = found.interval
    assert low < found.change < high < 0  # it is certain, though images differ by 4 dB
    assert high - low < 0.1
    assert found.n == 40


@pytest.mark.medium
def test_errors_and_psnr_give_the_same_and_the_order_of_images_does_not_matter():
    before, after = psnrs(), psnrs(0.2, 0.3)
    errors = [{"mse": 10 ** (-one / 10)} for one in (before, after)]
    by_psnr = paired_change({"psnr": before}, {"psnr": after}, "psnr_pooled")
    by_mse = paired_change(*errors, "psnr_pooled")
    mixed = paired_change({"psnr": before}, {"psnr": after[::-1]}, "psnr_pooled")
    assert by_mse.change == pytest.approx(by_psnr.change)
    assert by_mse.interval == pytest.approx(by_psnr.interval)
    assert mixed == by_psnr


def test_without_scores_of_images_or_without_errors_there_is_no_interval():
    one = psnrs()
    perfect = one.copy()
    perfect.iloc[0] = np.inf
    assert paired_change({}, {}, "psnr_pooled") is None
    assert paired_change({"psnr": one}, {}, "psnr_pooled") is None
    assert paired_change({"psnr": perfect}, {"psnr": one}, "psnr_pooled") is None
    assert paired_change({"psnr": one}, {}, "psnr") is None


def test_nothing_changed():
    one = {"psnr": psnrs()}
    for key in ("psnr", "psnr_pooled"):
        assert paired_change(one, one, key) == PairedChange(0.0, (0.0, 0.0), 40)


def test_deviation_and_what_chance_exceeds():
    found = paired_change({"psnr": psnrs()}, {"psnr": psnrs(0, 1)}, "psnr")
    gaps = psnrs(0, 1) - psnrs()
    assert found.deviation == pytest.approx(gaps.std() / 40**0.5, rel=0.05)
    assert found.critical() == pytest.approx((found.interval[1] - found.interval[0]) / 2)
    assert found.critical(0.01) == pytest.approx(student.ppf(0.99, 39) * found.deviation)
