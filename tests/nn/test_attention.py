"""The tiled attention equals the dense one on every grid, and costs memory linear in tokens."""

from functools import partial

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from ssdd_bench.nn import attention
from ssdd_bench.nn.attention import (
    RADIUS,
    Kernel,
    RelativePositionBias,
    choose_kernel,
    neighbourhood_attention,
)


@pytest.fixture
def bias():
    torch.manual_seed(1)
    made = RelativePositionBias(heads=2)
    torch.nn.init.normal_(made.relative_bias_table)
    return made


def tokens(rows, columns, batch=2):
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    shape = (3, batch, 2, rows * columns, 8)
    return torch.randn(shape, generator=generator).unbind(0)


def reference(q, k, v, grid, table):
    """Every query against every key, written as two loops."""
    out = torch.zeros_like(q)
    cells = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    for i, (qy, qx) in enumerate(cells):
        scores = torch.full((*q.shape[:2], len(cells)), float("-inf"))
        for j, (ky, kx) in enumerate(cells):
            dy, dx = qy - ky, qx - kx
            if abs(dy) <= RADIUS and abs(dx) <= RADIUS:
                dot = (q[:, :, i] * k[:, :, j]).sum(-1) * q.shape[-1] ** -0.5
                scores[:, :, j] = dot + table[dy + RADIUS, dx + RADIUS]
        out[:, :, i] = (scores.softmax(-1)[..., None] * v).sum(2)
    return out


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 12), (9, 9), (11, 17)])
def test_every_kernel_equals_two_loops(bias, grid):
    inputs = tokens(*grid)
    expected = reference(*inputs, grid, bias.relative_bias_table)
    for kernel in Kernel:
        got = neighbourhood_attention(*inputs, grid, bias, kernel)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5, msg=kernel)


@torch.no_grad()
@pytest.mark.parametrize("exporting", [False, True])
@pytest.mark.parametrize("grid", [(40, 33), (7, 64), (24, 15), (65, 8)])
def test_tiles_equal_all_pairs(bias, grid, exporting, monkeypatch):
    """Several tiles have all their keys inside, others end at one border or at both."""
    monkeypatch.setattr(attention, "_exporting", lambda: exporting)
    inputs = tokens(*grid)
    tiled, dense = (
        neighbourhood_attention(*inputs, grid, bias, kernel)
        for kernel in (Kernel.TILES, Kernel.DENSE)
    )
    torch.testing.assert_close(tiled, dense, atol=1e-5, rtol=1e-5)


def test_gradients_of_tiles_equal_those_of_all_pairs(bias):
    found = []
    for kernel in (Kernel.TILES, Kernel.DENSE):
        inputs = [x.requires_grad_() for x in tokens(13, 18)]
        out = neighbourhood_attention(*inputs, (13, 18), bias, kernel)
        found.append(torch.autograd.grad(out.square().sum(), [*inputs, *bias.parameters()]))
    for tiled, dense in zip(*found, strict=True):
        torch.testing.assert_close(tiled, dense, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("device", "tokens", "kernel"),
    [
        ("cpu", 256, Kernel.DENSE),
        ("cpu", 1024, Kernel.TILES),
        ("cuda", 1024, Kernel.DENSE),
        ("cuda", 4096, Kernel.FLEX),
        ("mps", 1024, Kernel.DENSE),
        ("mps", 4096, Kernel.TILES),
    ],
)
def test_kernels(device, tokens, kernel):
    assert choose_kernel(torch.device(device), tokens) == kernel


def test_positions_made_in_inference_serve_training(bias):
    with torch.inference_mode():
        bias((3, 5), (3, 5))
    bias((3, 5), (3, 5)).sum().backward()
    assert bias.relative_bias_table.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("kernel", [Kernel.DENSE, Kernel.TILES])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(bias, kernel, dtype):
    """The mask fits into the format, and no row of it is masked whole."""
    inputs = tokens(11, 17)
    expected = neighbourhood_attention(*inputs, (11, 17), bias)
    half = [x.to(dtype) for x in inputs]
    found = neighbourhood_attention(*half, (11, 17), bias.to(dtype), kernel)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=5e-2, rtol=0)


@torch.no_grad()
@pytest.mark.slow
def test_flex_takes_more_shapes_than_torch_compiles_of_one_function(bias, monkeypatch):
    compile_ = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", compile_)
    compiled = attention._compiled.__wrapped__(flex_attention)
    monkeypatch.setattr(attention, "_flex_kernel", lambda device, compiling: compiled)
    for batch in range(1, 11):
        inputs = tokens(9, 9, batch)
        found = neighbourhood_attention(*inputs, (9, 9), bias, Kernel.FLEX)
        expected = neighbourhood_attention(*inputs, (9, 9), bias, Kernel.DENSE)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_changed_table_is_seen_at_once(bias):
    q, k, v = tokens(20, 20)
    before = neighbourhood_attention(q, k, v, (20, 20), bias)
    bias.relative_bias_table.mul_(-1)
    after = neighbourhood_attention(q, k, v, (20, 20), bias)
    assert (before - after).abs().max() > 0.1


@torch.no_grad()
def test_no_tensor_grows_with_the_square_of_the_tokens(bias):
    """Bytes allocated per token stay level from 32x32 to 64x64 tokens."""
    from torch.profiler import profile

    per_token = []
    for side in (32, 64):
        q, k, v = tokens(side, side, batch=1)
        with profile(profile_memory=True) as seen:
            neighbourhood_attention(q, k, v, (side, side), bias)
        largest = max(event.self_cpu_memory_usage for event in seen.events())
        per_token.append(largest / side**2)
    assert per_token[1] < 1.5 * per_token[0]
