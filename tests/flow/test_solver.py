"""The solvers against closed forms."""

from itertools import pairwise

import pytest
import torch
from gaussian_flow import MEAN, STD, gaussian_velocity

from ssdd_bench.flow.path import velocity
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler, heun


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


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_straight_flow_is_solved_exactly(steps):
    image, noise = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0], [-4.0]])
    out = euler(lambda x, t: velocity(image, noise), noise, power_schedule(steps))
    torch.testing.assert_close(out, image)
