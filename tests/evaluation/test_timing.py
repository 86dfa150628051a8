"""The clock: what it leaves out, and the record that it makes."""

import time

import pytest
import torch

from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.timing import (
    TimingSettings,
    compare_outputs,
    measure_speed,
    speed_ratio,
    time_by_turns,
    time_calls,
)
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.schema import Fidelity

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


@pytest.mark.slow
def test_speed_record(block_mean):
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    examples = Examples(tuple("abcd"), images, images)
    settings = TimingSettings(seconds=0.01, warmup=1, min_calls=3, max_calls=3)
    record = measure_speed(
        block_mean(), examples, [2], get_protocol("default-v1"), 0, CPU, settings
    )
    for timing in (record.encode, record.decode):
        assert timing.batch in (1, 2)
        assert timing.repeats == 3
        assert timing.images_per_s == pytest.approx(timing.batch / timing.median_s)
        assert timing.q1_s <= timing.median_s <= timing.q3_s
    assert record.decode.gmac_per_image is None
    assert record.fidelity == Fidelity(None, 0.0)


class Counting:
    """A tokenizer that lists the sizes of its batches."""

    def __init__(self, tokenizer, limit=100):
        self.tokenizer, self.limit, self.sizes = tokenizer, limit, []

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def decode(self, latent, noise):
        self.sizes.append(len(latent))
        if len(latent) > self.limit:
            raise MemoryError
        time.sleep(0.002 + 0.002 * max(0, len(latent) - 4))  # nothing is gained beyond four
        return self.tokenizer.decode(latent, noise)


def examples(count=4):
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    return Examples(tuple("abcdefgh"[:count]), images, images)


FEW = TimingSettings(seconds=0.01, warmup=1, min_calls=3, max_calls=3)
PROTOCOL = get_protocol("default-v1")


@pytest.mark.slow
def test_auto_doubles_the_batch_while_throughput_grows(block_mean):
    tokenizer = Counting(with_network(block_mean))
    record = measure_speed(tokenizer, examples(), "auto", PROTOCOL, 0, CPU, FEW)
    assert record.batches[:3] == (1, 2, 4)
    assert max(record.batches) <= 32
    assert record.decode.batch in (4, 8)
    assert record.decode_single.batch == 1
    assert record.decode.images_per_s > record.decode_single.images_per_s


@pytest.mark.slow
def test_a_batch_that_does_not_fit_ends_the_search(block_mean):
    tokenizer = Counting(with_network(block_mean), limit=2)
    record = measure_speed(tokenizer, examples(), [2, 4, 8], PROTOCOL, 0, CPU, FEW)
    assert record.batches == (1, 2)
    assert "out of memory with 4 images" in record.warning


def test_codecs_are_timed_on_all_kept_images(block_mean):
    tokenizer = Counting(block_mean())
    record = measure_speed(tokenizer, examples(3), [1], PROTOCOL, 0, CPU, FEW)
    assert record.decode.batch == 1
    assert len(tokenizer.sizes) % 3 == 0
    assert record.decode.images_per_s < 1 / 0.002


def with_network(block_mean):
    tokenizer = block_mean()
    tokenizer.networks = lambda: {"decoder": torch.nn.Linear(1, 1)}
    return tokenizer


def test_turns_cancel_drift():
    """A machine that slows down all the time favours neither side."""
    calls = 0

    def slower():
        nonlocal calls
        calls += 1
        time.sleep(0.001 * calls / 4)

    seconds = time_by_turns([slower, slower], CPU, turns=8)
    assert seconds.shape == (8, 2)
    ratio, (low, high) = speed_ratio(*seconds.T)
    assert low <= ratio <= high
    assert ratio == pytest.approx(1, abs=0.1)


def test_differences_of_outputs():
    one = torch.zeros(1, 3, 2, 2)
    assert compare_outputs([one], [one]) == Fidelity(None, 0.0)
    found = compare_outputs([one + 0.1], [one])
    assert found.psnr == pytest.approx(20)
    assert found.max_difference == pytest.approx(0.1)
