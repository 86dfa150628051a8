"""Orders of the solvers, on the exact flow to a Gaussian."""

from itertools import pairwise

import pytest
import torch

from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler, heun

MEAN, STD = 1.5, 0.4


def gaussian_velocity(x, t):
    """Exact velocity towards data that is N(MEAN, STD^2)."""
    t = t.view(-1, *[1] * (x.ndim - 1))
    variance = (1 - t) ** 2 * STD**2 + t**2
    offset = (x - (1 - t) * MEAN) / variance
    return MEAN + (1 - t) * STD**2 * offset - t * offset


@pytest.mark.parametrize(("solve", "order"), [(euler, 1), (heun, 2)])
def test_error_falls_with_the_order_of_the_solver(solve, order):
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    exact = MEAN + STD * noise  # the flow keeps the order of a Gaussian's quantiles
    errors = [
        (solve(gaussian_velocity, noise, power_schedule(n, 1.0)) - exact).abs().max().item()
        for n in (20, 40, 80)
    ]
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.15)
