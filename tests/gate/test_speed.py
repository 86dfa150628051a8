"""This project's own gate of speed: the shipped decoder against a steady one, in one process.

Alone on two cores ssdd decodes 64 px 0.83 times as fast as klvae, and 256 px 1.2 times. The gate
fails below 0.6; three steps of an earlier decoder gave 0.27 to 0.39 beside other work.
"""

import pytest
import torch

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
    ("base", "head", "interval"),
    [(1, 1.05, (0.94, 0.96)), (1, 1.2, (0.7, 1.01))],
    ids=["within the threshold", "in doubt"],
)
def test_what_is_no_regression(base, head, interval):
    assert not SpeedRatio(base, head, base / head, interval, 9, Threshold(0.1, True)).is_regression


def test_what_is_a_regression():
    assert SpeedRatio(1, 1.2, 0.83, (0.8, 0.85), 9, Threshold(0.1, True)).is_regression
