"""The average of weights is a copy at first."""

import pytest
import torch

from ssdd_bench.nn.ema import EMA


def test_ema_copies_then_averages():
    ema = EMA(decay=0.999, start=3)
    for iteration, value in enumerate([1.0, 2.0, 5.0, 9.0], start=1):
        ema.update({"w": torch.tensor(value)}, iteration)
    # at 3: decay (1+0)/(10+0) = 0.1 of the copy 2.0; at 4: (1+1)/(10+1) = 2/11
    at_three = 0.1 * 2.0 + 0.9 * 5.0
    assert ema.weights["w"].item() == pytest.approx(2 / 11 * at_three + 9 / 11 * 9.0)
