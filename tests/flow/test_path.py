"""The straight path against its closed form."""

import torch

from ssdd_bench.flow.path import interpolate, predict_x0, velocity

IMAGE, NOISE = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0], [-4.0]])


def test_path_ends():
    assert torch.equal(
        interpolate(IMAGE, NOISE, torch.tensor([0.0, 1.0])), torch.tensor([[1.0], [-4.0]])
    )


def test_true_velocity_leads_to_the_image_from_any_time():
    t = torch.tensor([0.25, 0.8])
    x_t = interpolate(IMAGE, NOISE, t)
    torch.testing.assert_close(predict_x0(x_t, velocity(IMAGE, NOISE), t), IMAGE)
