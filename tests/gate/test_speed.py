"""This project's own gate of speed: the shipped decoder against a steady one, in one process.

Alone on two cores ssdd decodes 64 px 0.83 times as fast as klvae, and 256 px 1.2 times. The gate
fails below 0.6; three steps of an earlier decoder gave 0.27 to 0.39 beside other work.
"""

import numpy as np
import pytest
import torch

from ssdd_bench.errors import UserError
from ssdd_bench.gate import speed
from ssdd_bench.gate.speed import SpeedRatio, compare_speed
from ssdd_bench.gate.thresholds import Threshold

ALLOWED = Threshold(0.4, relative=True)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine measure the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def against_klvae(head: str, turns: int) -> SpeedRatio:
    return compare_speed("klvae", head, 64, turns, ALLOWED)


@pytest.mark.timing
def test_the_shipped_decoder_is_as_fast_as_before():
    found = against_klvae("ssdd", 31)
    assert not found.is_regression, found


@pytest.mark.timing
def test_a_decoder_that_takes_more_steps_is_noticed():
    found = against_klvae("ssdd:steps=3", 7)
    assert found.is_regression, found


@pytest.mark.timing
def test_speed_is_compared_by_turns():
    found = compare_speed("downsample", "diffusion:steps=2", 64, 5, Threshold(0.1, True))
    assert found.is_regression
    assert found.interval[1] < 1
    assert not compare_speed(
        "diffusion:steps=2", "downsample", 64, 5, Threshold(0.1, True)
    ).is_regression


@pytest.mark.parametrize(
    ("ratio", "high", "regression"),
    [
        (0.5, 0.9, False),
        (0.49, 0.9, True),
        (0.49, 1.0, False),
        (0.49, 0.99, True),
        (2.0, 2.0, False),
    ],
)
def test_a_regression_is_beyond_the_threshold_and_surely_below_one(ratio, high, regression):
    found = SpeedRatio(1, 1, ratio, (0.1, high), 9, Threshold(0.5, True))
    assert found.is_regression is regression


def test_what_is_timed_and_what_is_made_of_it(monkeypatch):
    """Both decoders get one photograph of the size; the clock says 0.5 s and 0.25 s."""
    asked = []

    def time_by_turns(calls, device, turns):
        asked.append((device.type, turns, torch.is_inference_mode_enabled()))
        asked.extend(call.__self__ for call in calls)
        return np.array([[0.5, 0.25], [0.5, 0.25], [0.75, 0.25]])

    monkeypatch.setattr(speed, "time_by_turns", time_by_turns)
    threshold = Threshold(0.5, True)
    found = compare_speed("downsample", "identity", 32, 3, threshold)
    assert (found.base_s, found.head_s, found.ratio, found.turns) == (0.5, 0.25, 2.0, 3)
    assert (found.interval, found.threshold) == ((2.0, 3.0), threshold)
    (how, base, head) = asked
    assert how == ("cpu", 3, True)
    assert (base.batch, base.calls, head.batch, head.calls) == (1, 1, 1, 1)
    sizes = [latent.size for one in (base, head) for latent in one.encode()]
    assert sizes == [(32, 32)] * 2
    with pytest.raises(UserError):
        compare_speed("downsample", "identity", 33, 3, threshold)
