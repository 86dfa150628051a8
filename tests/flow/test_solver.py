"""The solvers against closed forms."""

from itertools import pairwise

import pytest
import torch

from ssdd_bench.flow.path import velocity
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


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_straight_flow_is_solved_exactly(steps):
    image, noise = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0], [-4.0]])
    out = euler(lambda x, t: velocity(image, noise), noise, power_schedule(steps))
    torch.testing.assert_close(out, image)


def test_euler_converges_at_first_order():
    """dx/dt = x from t = 1 to 0 ends in x(1) / e; the solver takes minus dx/dt."""
    start = torch.ones(1, 1, dtype=torch.float64)
    errors = [
        abs(euler(lambda x, t: -x, start, power_schedule(steps, 1)).item() - torch.e**-1)
        for steps in (64, 128)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
