"""Programs of single images, applied to batches."""

import torch
from torch import nn

from ssdd_bench.diffusers.programs import EachImage, EachPair


class Mean(nn.Module):
    """A function that mixes the images of a batch."""

    def forward(self, x, *noise):
        return x - x.mean() + sum(noise)


def test_images_of_a_batch_are_computed_apart():
    x, noise = torch.randn(2, 3, 3, 4, 4)
    expected = x - x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(EachImage(Mean(), (4, 4))(x), expected)
    torch.testing.assert_close(EachPair(Mean(), (4, 4))(x, noise), expected + noise)
    assert (Mean()(x) - expected).abs().max() > 1e-3
