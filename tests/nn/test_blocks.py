"""Upsampling by folded weights, and blocks that overwrite only what nothing else reads."""

import pytest
import torch
import torch.nn.functional as F

from ssdd_bench.nn.blocks import Checkpointed, DoublingConvolution, ResidualBlock
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import EncoderBlock, SSDDEncoder


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_upsampling_is_nearest_neighbours_then_a_convolution(training, memory_format):
    torch.manual_seed(0)
    layer = DoublingConvolution(12)
    x = torch.randn(2, 12, 5, 7).contiguous(memory_format=memory_format)
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    expected = F.conv2d(doubled, layer.weight, layer.bias, padding=1)
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    other = F.interpolate(x, scale_factor=2.0, mode="bilinear")
    wrong = F.conv2d(other, layer.weight, layer.bias, padding=1)
    assert (wrong - expected).abs().max() > 0.1


def test_doubling_convolution_makes_its_constants_once(monkeypatch):
    """A GPU would be waited for, and a graph of its kernels could not be recorded."""
    layer, x = DoublingConvolution(4), torch.randn(1, 4, 3, 3)
    expected = layer(x)
    monkeypatch.delattr(torch, "tensor")
    monkeypatch.setattr(torch.Tensor, "new_tensor", None)
    assert torch.equal(layer(x), expected)


def test_gradients_of_upsampling():
    torch.manual_seed(0)
    layer = DoublingConvolution(6).double()
    x = torch.randn(1, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    found = torch.autograd.grad(layer(x).square().sum(), inputs)
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    plain = F.conv2d(doubled, layer.weight, layer.bias, padding=1)
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


@pytest.mark.medium
@pytest.mark.parametrize("network", ["encoder", "decoder"])
def test_checkpointing_recomputes_blocks_and_changes_no_gradient(network):
    torch.manual_seed(0)
    made = SSDDEncoder(8, 4, base=16) if network == "encoder" else SSDDDecoder("mini", 4)
    x, t, z = torch.randn(1, 3, 32, 32), torch.ones(1), torch.randn(1, 4, 4, 4)
    for parameter in made.parameters():  # also the last layers of residual branches, now zero
        torch.nn.init.normal_(parameter, std=0.05)
    calls = []
    blocks = [one for one in made.modules() if isinstance(one, ResidualBlock | EncoderBlock)]
    for block in blocks:
        block.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients():
        calls.clear()
        out = made(x).mean if network == "encoder" else made(x, t, z)
        return torch.autograd.grad(out.square().sum(), list(made.parameters()), allow_unused=True)

    kept, kept_calls = gradients(), len(calls)
    for module in made.modules():
        if isinstance(module, Checkpointed):
            module.gradient_checkpointing = True
    for a, b in zip(gradients(), kept, strict=True):
        assert a is b is None or torch.equal(a, b)
    assert (kept_calls, len(calls)) == (len(blocks), 2 * len(blocks))
    with torch.no_grad():
        calls.clear()
        made(x) if network == "encoder" else made(x, t, z)
    assert len(calls) == len(blocks)
