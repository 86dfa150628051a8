"""Our backward pass of a modulated group norm, against what autograd makes of the plain formula."""

import pytest
import torch
import torch.nn.functional as F

from ssdd_bench.nn import norm
from ssdd_bench.nn.norm import GroupNorm, modulated_group_norm


def plain(x, groups, eps, scale, shift):
    scale, shift = (F.interpolate(m, size=x.shape[2:], mode="nearest") for m in (scale, shift))
    return F.group_norm(x, groups, eps=eps) * scale + shift


def inputs(size, cells, layout=torch.contiguous_format, channels=12):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, channels, *size), (2, channels, *cells), (2, channels, *cells))
    return [
        torch.randn(shape, generator=generator, dtype=torch.double)
        .to(memory_format=layout)
        .requires_grad_()
        for shape in shapes
    ]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("size", "cells"), [((16, 16), (4, 4)), ((8, 24), (4, 6)), ((8, 8), (8, 8)), ((6, 8), (1, 1))]
)
def test_values_and_gradients(size, cells, layout):
    x, scale, shift = inputs(size, cells, layout)
    ours = modulated_group_norm(x, 4, 1e-5, scale, shift)
    wanted = plain(x, 4, 1e-5, scale, shift)
    torch.testing.assert_close(ours, wanted)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    got = torch.autograd.grad(ours, (x, scale, shift), upstream)
    for mine, its in zip(
        got, torch.autograd.grad(wanted, (x, scale, shift), upstream), strict=True
    ):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("size", [(16, 16), (6, 8)])
def test_elsewhere_than_on_a_cpu_the_gradients_are_pytorchs(size, monkeypatch):
    monkeypatch.setattr(norm, "_trains_on_cpu", lambda x: False)
    x, scale, shift = inputs(size, (2, 2))
    found = [
        torch.autograd.grad(function(x, 4, 1e-5, scale, shift).square().sum(), (x, scale, shift))
        for function in (modulated_group_norm, plain)
    ]
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("size", [(16, 16), (6, 8)])
def test_without_gradients_the_same(size):
    x, scale, shift = inputs(size, (2, 2))
    with torch.no_grad():
        ours = modulated_group_norm(x.clone(), 4, 1e-5, scale, shift)
    torch.testing.assert_close(ours, plain(x, 4, 1e-5, scale, shift).detach())


def test_cells_that_do_not_divide_the_map():
    x, scale, shift = inputs((9, 9), (2, 2))
    ours = modulated_group_norm(x, 4, 1e-5, scale, shift)
    torch.testing.assert_close(ours, plain(x, 4, 1e-5, scale, shift))
    ours.sum().backward()
    assert x.grad is not None


def test_half_precision_stays_half():
    x, scale, shift = (m.detach().bfloat16() for m in inputs((16, 16), (4, 4)))
    x.requires_grad_()
    out = modulated_group_norm(x, 4, 1e-5, scale.float(), shift.float())
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_module_is_pytorchs():
    torch.manual_seed(0)
    ours, its = GroupNorm(4, 12, eps=1e-6).double(), torch.nn.GroupNorm(4, 12, eps=1e-6).double()
    for one in (ours, its):
        torch.nn.init.normal_(one.weight, generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, 12, 8, 8, dtype=torch.double)
    for one in (ours, its):
        one(x).square().sum().backward()
    torch.testing.assert_close(ours(x), its(x))
    torch.testing.assert_close(ours.weight.grad, its.weight.grad)
    torch.testing.assert_close(ours.bias.grad, its.bias.grad)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("size", "cells"),
    [((32, 48), (4, 6)), ((17, 8), (17, 8)), ((21, 8), (5, 2)), ((6, 8), (1, 1))],
)
def test_joined_passes_in_channels_last(size, cells, monkeypatch):
    monkeypatch.setattr(norm, "LARGE", 1)
    x, scale, shift = (m.detach().float() for m in inputs(size, cells, torch.channels_last))
    x = (50 + 3 * x).contiguous(memory_format=torch.channels_last)  # the mean does not cancel badly
    before = x.clone()
    expected = plain(x.double(), 4, 1e-5, scale.double(), shift.double())
    ours = modulated_group_norm(x, 4, 1e-5, scale, shift)
    assert torch.equal(x, before)
    joined = modulated_group_norm(x, 4, 1e-5, scale, shift, overwrite=True)
    assert joined.data_ptr() == x.data_ptr()
    for found in (ours, joined):  # PyTorch's own loses digits in this layout, 1e-3 here
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_module_overwrites_only_what_it_may(monkeypatch):
    monkeypatch.setattr(norm, "LARGE", 1)
    ours, its = GroupNorm(4, 12), torch.nn.GroupNorm(4, 12).double()
    for one in (ours, its):
        torch.nn.init.normal_(one.weight, generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, 12, 16, 24, generator=torch.Generator().manual_seed(3)) + 50
    x = x.contiguous(memory_format=torch.channels_last)
    before, expected = x.clone(), its(x.double())
    ours(x)
    assert torch.equal(x, before)
    found = ours(x, overwrite=True)
    assert found.data_ptr() == x.data_ptr()
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_statistics_of_large_maps_are_exact():
    x = 3 + torch.randn(1, 8, 512, 512, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    mean, reciprocal = norm._moments(x, 4, 0.0)
    grouped = x.double().reshape(1, 4, -1)
    torch.testing.assert_close(mean[:, ::2, 0, 0].double(), grouped.mean(2), atol=5e-6, rtol=0)
    torch.testing.assert_close(
        1 / reciprocal[:, ::2, 0, 0].double(), grouped.std(2, correction=0), atol=5e-6, rtol=0
    )
