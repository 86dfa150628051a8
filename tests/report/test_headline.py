"""The headline: which two it compares, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.report.headline import Headline, find_headline
from ssdd_bench.results.schema import LatentRecord, MetricValue, Result, SpeedComparison

Make = Callable[..., Result]
Row = tuple[Result, dict[str, pd.Series]]
SMALL = LatentRecord("continuous", 16, 4, (4, 4, 4), 16, 1 / 64, None)
LEADS = [1.0, 0.5, 1.5, 1.0]


def measured(
    make_result: Make, label: str, psnr: float, ips: float, stochastic: bool, **more: object
) -> Row:
    result = make_result(label, 64, ips, {"psnr": psnr}, steps=1 if stochastic else None, **more)
    result = replace(result, tokenizer=replace(result.tokenizer, stochastic=stochastic))
    shares = np.array(LEADS) * (psnr - 20)
    return result, {"psnr": pd.Series(20 + shares, ["a", "b", "c", "d"])}


def find(*rows: Row, compare: str = "") -> Headline | None:
    results, scores = zip(*rows, strict=True)
    return find_headline(pool_seeds(to_frame(results, scores)), compare)


@pytest.mark.medium
def test_the_best_that_is_no_slower_stands_against_the_best_without_noise(
    make_result: Make,
) -> None:
    headline = find(
        measured(make_result, "plain", 21.0, 20.0, False),
        measured(make_result, "poor", 20.5, 30.0, False),
        measured(make_result, "quick", 22.0, 25.0, True),
        measured(make_result, "slow", 24.0, 5.0, True),
    )
    assert headline is not None
    assert (headline.method["label"], headline.baseline["label"]) == ("quick", "plain")
    # Leads of 0.5, 1, 1 and 1.5 dB on four images; the bootstrap stays within them.
    start = "At f8c4 and 64 px, quick in one step is 1.00 dB of PSNR [0."
    assert headline.sentence.startswith(start)
    assert "ahead of plain and decodes 1.25 [" in headline.sentence
    assert headline.sentence.endswith("] times as fast.")


def test_less_of_an_error_is_ahead(make_result: Make) -> None:
    rows = [
        measured(make_result, "plain", 21.0, 20.0, False),
        measured(make_result, "quick", 22.0, 25.0, True),
    ]
    errors = [pd.Series([0.3, 0.2, 0.4, 0.5]), pd.Series([0.2, 0.1, 0.2, 0.4])]
    results = [
        replace(one, metrics={**one.metrics, "mae": MetricValue(float(each.mean()), 4, False, "")})
        for (one, _), each in zip(rows, errors, strict=True)
    ]
    headline = find(*((one, {"mae": each}) for one, each in zip(results, errors, strict=True)))
    assert headline is not None
    assert headline.method["label"] == "quick"
    assert "0.1250 of MAE" in headline.sentence
    assert "] ahead of plain" in headline.sentence


def by_turns(make: Make, label: str, psnr: float, ratio: float) -> Row:
    """A row that was timed by turns with another."""
    result, scores = measured(make, label, psnr, 15.0, True)
    assert result.speed is not None
    comparison = SpeedComparison("plain", ratio, (ratio - 0.1, ratio + 0.1), 15)
    return replace(result, speed=replace(result.speed, comparison=comparison)), scores


def test_those_timed_by_turns_come_before_faster_and_better_ones(make_result: Make) -> None:
    headline = find(
        measured(make_result, "plain", 21.0, 20.0, False),
        measured(make_result, "quick", 22.5, 25.0, True),
        measured(make_result, "clean", 21.5, 20.0, False),  # nothing was timed with it
        by_turns(make_result, "timed", 22.0, 1.1),
        by_turns(make_result, "slow", 22.7, 0.6),
        measured(make_result, "best", 23.0, 5.0, True),
    )
    assert headline is not None
    assert (headline.method["label"], headline.baseline["label"]) == ("timed", "plain")
    assert headline.sentence.endswith("decodes 1.10 [1.00, 1.20] times as fast.")
    assert headline.notes[-1] == "speeds compared by turns"


def test_the_best_timed_by_turns_if_all_of_them_are_slower(make_result: Make) -> None:
    headline = find(
        measured(make_result, "plain", 21.0, 20.0, False),
        measured(make_result, "quick", 22.5, 25.0, True),
        by_turns(make_result, "slow", 22.0, 0.6),
        by_turns(make_result, "slower", 22.2, 0.3),
    )
    assert headline is not None
    assert headline.method["label"] == "slower"


@pytest.mark.medium
def test_the_better_is_named_first_and_a_difference_within_noise_is_no_lead(
    make_result: Make,
) -> None:
    ahead = find(
        measured(make_result, "plain", 23.0, 20.0, False),
        measured(make_result, "noisy", 21.0, 25.0, True),
    )
    assert ahead is not None
    assert ahead.method["label"] == "plain"
    even, scores = measured(make_result, "noisy", 21.0, 25.0, True)
    mixed = {"psnr": pd.Series([21.0, 21.5, 20.5, 21.0], scores["psnr"].index)}
    level = find(measured(make_result, "plain", 21.0, 20.0, False), (even, mixed))
    assert level is not None
    assert "level with" in level.sentence
    assert "ahead" not in level.sentence


@pytest.mark.medium
def test_a_distance_of_whole_sets_comes_first_and_decides(make_result: Make) -> None:
    rows = [
        measured(make_result, "plain", 22.0, 20.0, False),
        measured(make_result, "noisy", 21.0, 25.0, True),
    ]
    distances = (3.4, 1.2)
    rows = [
        (
            replace(result, metrics={**result.metrics, "rfid": MetricValue(value, 28, False, "")}),
            each,
        )
        for (result, each), value in zip(rows, distances, strict=True)
    ]
    headline = find(*rows)
    assert headline is not None
    assert (
        "noisy in one step has rFID 1.200 against 3.400 of plain, is 1.00 dB" in headline.sentence
    )
    assert "] behind plain and decodes" in headline.sentence


@pytest.mark.medium
def test_other_rates_machines_and_labels_are_not_compared(make_result: Make) -> None:
    plain = measured(make_result, "plain", 21.0, 20.0, False)
    assert find(plain) is None
    assert find(plain, measured(make_result, "small", 22.0, 20.0, True, latent=SMALL)) is None
    elsewhere = measured(make_result, "noisy", 22.0, 99.0, True, device="cuda")
    headline = find(plain, elsewhere)
    assert headline is not None
    assert "fast" not in headline.sentence
    with pytest.raises(UserError, match="plain,other"):
        find(plain, elsewhere, compare="plain,other")


def test_two_can_be_asked_for_and_labels_may_hold_commas(make_result: Make) -> None:
    rows = [
        measured(make_result, "a:f=8,g=2", 21.0, 20.0, False),
        measured(make_result, "b", 22.0, 20.0, True),
        measured(make_result, "c", 23.0, 20.0, True),
    ]
    headline = find(*rows, compare="a:f=8,g=2,b")
    assert headline is not None
    assert headline.method["label"] == "a:f=8,g=2"
    assert "behind b" in headline.sentence
