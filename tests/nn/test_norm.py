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
