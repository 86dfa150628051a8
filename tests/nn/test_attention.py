"""The tiled attention equals the dense one on every grid, and costs memory linear in tokens."""

import pytest
import torch

from ssdd_bench.nn import attention
from ssdd_bench.nn.attention import RADIUS, RelativePositionBias, neighbourhood_attention


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


@torch.no_grad()
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 12), (9, 9), (11, 17)])
@pytest.mark.parametrize("dense_tokens", [0, 10_000], ids=["tiled", "dense"])
def test_equals_two_loops(bias, grid, dense_tokens, monkeypatch):
    monkeypatch.setattr(attention, "DENSE_TOKENS", dense_tokens)
    q, k, v = tokens(*grid)
    got = neighbourhood_attention(q, k, v, grid, bias)
    torch.testing.assert_close(
        got, reference(q, k, v, grid, bias.relative_bias_table), atol=1e-5, rtol=1e-5
    )


def test_gradients_of_tiles_equal_those_of_all_pairs(bias, monkeypatch):
    found = []
    for dense_tokens in (0, 10_000):
        monkeypatch.setattr(attention, "DENSE_TOKENS", dense_tokens)
        inputs = [x.requires_grad_() for x in tokens(13, 18)]
        out = neighbourhood_attention(*inputs, (13, 18), bias)
        found.append(torch.autograd.grad(out.square().sum(), [*inputs, *bias.parameters()]))
    for tiled, dense in zip(*found, strict=True):
        torch.testing.assert_close(tiled, dense, atol=1e-4, rtol=1e-4)


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
