"""Times of what every image goes through; in a plain test run each is only called once.

pytest tests/benchmarks --benchmark-enable --benchmark-only
"""

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.metrics.intervals import bootstrap
from ssdd_bench.metrics.pixel_errors import squared_errors
from ssdd_bench.metrics.ssim import ssim
from ssdd_bench.nn.dit import DiT, make_config
from ssdd_bench.nn.norm import modulated_group_norm


@pytest.fixture(scope="module")
def pair():
    a = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8)
    return a, (a.int() + 3).clamp(0, 255).byte()


def test_ssim(benchmark, pair):
    benchmark.extra_info["pixels"] = 256 * 256
    pairs = [image[None] for image in pair]
    assert 0.9 < benchmark.pedantic(ssim, pairs, rounds=20, warmup_rounds=2) < 1


def test_squared_errors(benchmark, pair):
    pairs = [image[None] for image in pair]
    (mse,) = benchmark.pedantic(squared_errors, pairs, rounds=50, warmup_rounds=2)
    assert 0 < mse <= 9


@pytest.mark.parametrize("crop", CROPS)
def test_crop(benchmark, crop):
    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    cropped = benchmark.pedantic(CROPS[crop], (image, 256), rounds=50, warmup_rounds=2)
    assert cropped.shape == (256, 256, 3)


def test_bootstrap(benchmark):
    scores = np.random.default_rng(0).normal(size=5000)
    low, high = benchmark.pedantic(bootstrap, (scores,), rounds=3)
    assert low < scores.mean() < high


def test_modulated_group_norm_in_training(benchmark):
    def maps(side):
        m = torch.randn(8, 32, side, side, dtype=torch.bfloat16)
        return m.to(memory_format=torch.channels_last).requires_grad_()

    inputs = [maps(side) for side in (64, 8, 8)]

    def forward_and_backward():
        out = modulated_group_norm(inputs[0], 8, 1e-5, *inputs[1:])
        return torch.autograd.grad(out, inputs, torch.ones_like(out))

    found = benchmark.pedantic(forward_and_backward, rounds=20, warmup_rounds=2)
    assert [gradient.shape for gradient in found] == [x.shape for x in inputs]


@pytest.mark.medium
def test_dit_in_training(benchmark):
    network = DiT(make_config("nano", 2, 8, 4, 10))
    latents, times, labels = torch.randn(64, 4, 8, 8), torch.rand(64), torch.arange(64) % 10

    def forward_and_backward():
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(latents, times, labels).square().mean()
        return torch.autograd.grad(loss, network.parameters(), allow_unused=True)

    gradients = benchmark.pedantic(forward_and_backward, rounds=5, warmup_rounds=1)
    assert len(gradients) == len(list(network.parameters()))
