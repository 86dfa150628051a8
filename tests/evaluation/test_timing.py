"""The clock: what it leaves out, and the record that it makes."""

import time

import pytest
import torch

from ssdd_bench.evaluation.reconstruct import Examples
from ssdd_bench.evaluation.timing import TimingSettings, measure_speed, time_calls
from ssdd_bench.protocols.registry import get_protocol

CPU = torch.device("cpu")


def test_clock_leaves_warm_up_and_preparation_out():
    slept = []

    def call():
        slept.append(1)
        time.sleep(0.2 if len(slept) == 1 else 0.01)

    settings = TimingSettings(seconds=0.05, warmup=2, min_calls=5, max_calls=5)
    seconds = time_calls(call, lambda: None, CPU, settings)
    assert len(slept) == 7
    assert len(seconds) == 5
    assert min(seconds) >= 0.01
    assert max(seconds) < 0.2


def test_speed_record(block_mean):
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    examples = Examples(tuple("abcd"), images, images)
    settings = TimingSettings(seconds=0.01, warmup=1, min_calls=3, max_calls=3)
    record = measure_speed(
        block_mean(), examples, [2], get_protocol("default-v1"), 0, CPU, settings
    )
    for timing in (record.encode, record.decode):
        assert timing.batch == 2
        assert timing.repeats == 3
        assert timing.images_per_s == pytest.approx(2 / timing.median_s)
        assert timing.q1_s <= timing.median_s <= timing.q3_s
    assert record.decode.gmac_per_image is None
