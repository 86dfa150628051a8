"""Perceptual distances by a second way, and the input and the depths of their networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ssdd_bench.train.losses import perceptual as module
from ssdd_bench.train.losses.perceptual import LPIPSDistance

DEPTHS = (0, 3, 6, 14)


@pytest.fixture(scope="module")
def sides():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 32, 32, generator=generator) * 2 - 1


def outputs(network, pixels):
    """Outputs of all blocks by the package's own path, of pixels in [0, 255]."""
    kept = []
    hooks = [
        block.register_forward_hook(lambda block, given, found: kept.append(found))
        for block in network._blocks
    ]
    with torch.no_grad():
        network.extract_features((pixels - 127) / 128)
    for hook in hooks:
        hook.remove()
    return kept


@pytest.mark.slow
def test_outputs_are_those_of_the_package(distance, sides):
    made = distance.network
    assert not made.training
    assert not any(one.requires_grad for one in made.parameters())
    every = outputs(made.network, (sides[0] + 1) / 2 * 255)
    found = made(sides[0], DEPTHS)
    assert [one.shape[-1] for one in found] == [16, 8, 4, 2]
    for got, place in zip(found, DEPTHS, strict=True):
        torch.testing.assert_close(got, every[place], rtol=1e-4, atol=1e-4)


@pytest.mark.medium
def test_distance_of_features(distance, sides):
    expected = []
    for a, b in zip(*(distance.network(side, DEPTHS) for side in sides), strict=True):
        a, b = (x.double().numpy() for x in (a, b))
        unit = [x / np.sqrt((x**2).sum(axis=1, keepdims=True)) for x in (a, b)]
        expected.append(((unit[0] - unit[1]) ** 2).sum(axis=1).mean())
    images = sides[0].clone().requires_grad_()
    found = distance(images, sides[1])
    assert found.shape == ()
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)
    found.backward()
    assert images.grad.abs().max() > 0


def test_features_near_zero():
    """Lengths of at most 1e-4 count as 1e-4, or 1e-8 is added twice; both are in float32."""
    vectors = torch.tensor([[3e-5, 3.0, 0.0], [4e-5, 4.0, 0.0]])[None].double()
    small, large, none = module._unit(vectors)[0].T.tolist()
    assert small == pytest.approx([0.3, 0.4])
    assert large == pytest.approx([0.6, 0.8])
    assert none == [0, 0]
    small, large, none = module._safe_unit(vectors)[0].T.tolist()
    root = (25e-10 + 1e-8) ** 0.5 + 1e-8
    assert small == pytest.approx([3e-5 / root, 4e-5 / root], rel=1e-6)
    assert large == pytest.approx([0.6, 0.8])
    assert none == [0, 0]
    assert {module._unit(vectors).dtype, module._safe_unit(vectors).dtype} == {torch.float32}


class Lins(nn.Module):
    """Two layers of features with weights 1, 2 and 3, 4, of an input that is doubled."""

    def __init__(self):
        super().__init__()
        self.lins = nn.ModuleList(nn.Conv2d(2, 1, 1, bias=False) for _ in range(2))
        for lin, weights in zip(self.lins, ((1.0, 2.0), (3.0, 4.0)), strict=True):
            lin.weight.data = torch.tensor(weights).reshape(1, 2, 1, 1)

    def scaling_layer(self, x):
        return 2 * x

    def net(self, x):
        return [x, x[..., :1] ** 2]


def test_lpips_is_a_sum_over_layers_of_means(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "require", lambda name: Path(name))
    monkeypatch.setattr(module, "load_lpips", lambda *given: asked.append(given) or Lins())
    made = LPIPSDistance()
    assert asked == [("vgg", Path("vgg16"))]
    images = torch.tensor([[[[3.0, 0.0]], [[4.0, 1.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]])
    targets = torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]])
    # Unit vectors (0.6, 0.8), (0, 1) against (0, 1), (1, 0); of squares (9, 16) against (0, 1).
    root = 337**0.5
    first = ((0.6**2 + 2 * 0.2**2) + (1 + 2 * 1)) / 2
    second = 3 * (9 / root) ** 2 + 4 * (1 - 16 / root) ** 2
    for n in (1, 2):  # the second pair is equal
        found = made(images[:n], targets[:n])
        assert found.item() == pytest.approx((first + second) / n, rel=1e-5)
