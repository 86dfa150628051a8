"""The path, the times and the solver against closed forms."""

import pytest
import torch

from ssdd_bench.flow.path import interpolate, predict_x0, velocity
from ssdd_bench.flow.schedule import logit_normal_times, power_schedule
from ssdd_bench.flow.solver import euler

IMAGE, NOISE = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0], [-4.0]])


def test_path_ends():
    assert torch.equal(
        interpolate(IMAGE, NOISE, torch.tensor([0.0, 1.0])), torch.tensor([[1.0], [-4.0]])
    )


def test_true_velocity_leads_to_the_image_from_any_time():
    t = torch.tensor([0.25, 0.8])
    x_t = interpolate(IMAGE, NOISE, t)
    torch.testing.assert_close(predict_x0(x_t, velocity(IMAGE, NOISE), t), IMAGE)


def test_grid_of_eight_steps():
    expected = [1, 0.765625, 0.5625, 0.390625, 0.25, 0.140625, 0.0625, 0.015625, 0]
    assert power_schedule(8, 2) == pytest.approx(expected, abs=1e-12)


def test_no_steps():
    with pytest.raises(ValueError, match="steps is 0"):
        power_schedule(0)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_straight_flow_is_solved_exactly(steps):
    out = euler(lambda x, t: velocity(IMAGE, NOISE), NOISE, power_schedule(steps))
    torch.testing.assert_close(out, IMAGE)


def test_euler_converges_at_first_order():
    """dx/dt = x from t = 1 to 0 ends in x(1) / e; the solver takes minus dx/dt."""
    start = torch.ones(1, 1, dtype=torch.float64)
    errors = [
        abs(euler(lambda x, t: -x, start, power_schedule(steps, 1)).item() - torch.e**-1)
        for steps in (64, 128)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_training_times():
    times = logit_normal_times(200_000, torch.Generator().manual_seed(0))
    logits = torch.logit(times)
    assert logits.mean().item() == pytest.approx(0, abs=0.01)
    assert logits.std().item() == pytest.approx(1, abs=0.01)
