"""Losses are read together, and one that is not finite is named."""

import pytest
import torch

from ssdd_bench.errors import UserError
from ssdd_bench.train.log import LossLog


def test_mean_is_over_all_iterations_since_the_last_one():
    log = LossLog("klvae", "stop")
    log.add(0, {"l1": torch.tensor(1.0)})
    log.read()
    log.add(1, {"l1": torch.tensor(2.0), "gan": torch.tensor(4.0, dtype=torch.bfloat16)})
    assert len(log) == 2
    assert log.mean() == {"l1": 1.5, "gan": 2.0}
    assert len(log) == 0
    log.add(2, {"l1": torch.tensor(7.0)})
    assert log.mean() == {"l1": 7.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_named(value):
    log = LossLog("klvae", "stop {here}")
    for iteration, flow in enumerate([1.0, value, value]):
        log.add(iteration, {"kl": torch.tensor(0.0), "flow": torch.tensor(flow)})
    with pytest.raises(UserError, match=rf"klvae: loss term 'flow' is {value} .* 1: stop \{{here"):
        log.read()
