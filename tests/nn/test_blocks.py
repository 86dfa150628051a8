"""Upsampling by folded weights, and blocks that overwrite only what nothing else reads."""

import pytest
import torch
import torch.nn.functional as F

from ssdd_bench.nn.blocks import ResidualBlock, Upsampling


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_upsampling_is_nearest_neighbours_then_a_convolution(training, memory_format):
    torch.manual_seed(0)
    layer = Upsampling(12)
    x = torch.randn(2, 12, 5, 7).contiguous(memory_format=memory_format)
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    expected = F.conv2d(doubled, layer.conv.weight, layer.conv.bias, padding=1)
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    other = F.interpolate(x, scale_factor=2.0, mode="bilinear")
    wrong = F.conv2d(other, layer.conv.weight, layer.conv.bias, padding=1)
    assert (wrong - expected).abs().max() > 0.1


def test_gradients_of_upsampling():
    torch.manual_seed(0)
    layer = Upsampling(6).double()
    x = torch.randn(1, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    found = torch.autograd.grad(layer(x).square().sum(), inputs)
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    plain = F.conv2d(doubled, layer.conv.weight, layer.conv.bias, padding=1)
    expected = torch.autograd.grad(plain.square().sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@torch.inference_mode()
@pytest.mark.parametrize("channels", [(8, 8), (12, 8)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_input_is_overwritten_only_on_request(channels, memory_format):
    torch.manual_seed(0)
    block = ResidualBlock(*channels, context=4, time=16, groups=4).eval()
    x = torch.randn(1, channels[0], 16, 16).contiguous(memory_format=memory_format)
    context, time = torch.randn(1, 4, 2, 2), torch.randn(1, 16)
    before = x.clone()
    kept = block(x, context, time)
    assert torch.equal(x, before)
    torch.testing.assert_close(block(x, context, time, overwrite=True), kept)
