"""Timesteps of the solver and of the training."""

import pytest
import torch

from ssdd_bench.flow.schedule import logit_normal_times, power_schedule


def test_eight_steps():
    expected = [1, 0.765625, 0.5625, 0.390625, 0.25, 0.140625, 0.0625, 0.015625, 0]
    assert power_schedule(8, 2) == pytest.approx(expected, abs=1e-12)


def test_no_steps():
    with pytest.raises(ValueError, match="steps is 0"):
        power_schedule(0)


def test_training_times():
    times = logit_normal_times(200_000, torch.Generator().manual_seed(0))
    logits = torch.logit(times)
    assert logits.mean().item() == pytest.approx(0, abs=0.01)
    assert logits.std().item() == pytest.approx(1, abs=0.01)
