"""Self-attention in a neighbourhood, with a learned bias per relative position.

Every token sees the keys at most ``RADIUS`` cells away on both axes. Small grids are computed
whole. Large ones are cut into tiles, so that memory and time grow linearly with the tokens: each
tile reads the keys around it, but on a GPU of NVIDIA, AMD or Intel FlexAttention skips the blocks
out of reach.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.nn.constants import kept

RADIUS = 7
SIDE = 2 * RADIUS + 1
TILE = 8
MASKED = -1e7
FLEX_DEVICES = frozenset({"cuda", "xpu"})  # for which PyTorch compiles FlexAttention
KERNELS = 256  # of FlexAttention, that a process may compile

Bias = Callable[..., Tensor]
"""A :class:`RelativePositionBias`, or its call."""


class Kernel(StrEnum):
    """Ways to compute the attention of a neighbourhood, with equal results."""

    DENSE = "dense"  # all pairs, under a mask
    TILES = "tiles"  # squares of queries, each with the keys around it
    FLEX = "flex"  # FlexAttention; on a CPU it has no gradients


def choose_kernel(device: torch.device, tokens: int) -> Kernel:
    """Return the fastest kernel: up to a few hundred tokens all pairs cost less than tiles."""
    if device.type == "cpu":
        return Kernel.DENSE if tokens <= 256 else Kernel.TILES
    if tokens <= 1024:
        return Kernel.DENSE
    return Kernel.FLEX if device.type in FLEX_DEVICES else Kernel.TILES


class RelativePositionBias(nn.Module):
    """A bias per head for every offset (query minus key) of a neighbourhood.

    ``relative_bias_table`` has shape (15, 15, heads): rows are dy + 7, columns dx + 7.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_bias_table = nn.Parameter(torch.zeros(SIDE, SIDE, heads))

    def forward(self, query: tuple[int, int], key: tuple[int, int], origin: int = 0) -> Tensor:
        """Compute the bias of a block of queries against a block of keys, sizes (rows, columns).

        ``origin`` is the row and column of the first key relative to the first query. Returns
        (heads, query cells, key cells), where pairs out of reach hold -1e7, or float16's lowest.
        """
        table = self.relative_bias_table.flatten(0, 1)
        index = _positions(table, query, key, origin, table.device)
        lowest = max(MASKED, torch.finfo(table.dtype).min)
        table = F.pad(table, (0, 0, 0, 1), value=lowest)
        return F.embedding(index, table).permute(2, 0, 1).contiguous()


@kept
def _positions(
    query: tuple[int, int], key: tuple[int, int], origin: int, device: torch.device
) -> Tensor:
    """Return the row of the flat table for each pair, one past its end for those out of reach."""
    dy, dx = (
        torch.arange(q, device=device)[:, None] - torch.arange(k, device=device) - origin + RADIUS
        for q, k in zip(query, key, strict=True)
    )
    dy, dx = dy[:, None, :, None], dx[None, :, None, :]  # (qy, qx, ky, kx)
    near = (dy >= 0) & (dy < SIDE) & (dx >= 0) & (dx < SIDE)
    index = torch.where(near, dy * SIDE + dx, SIDE * SIDE)
    return index.flatten(2, 3).flatten(0, 1)


def neighbourhood_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    bias: Bias,
    kernel: Kernel | None = None,
) -> Tensor:
    """Compute softmax(q k / sqrt(d) + bias) v over each token's neighbourhood.

    Args:
        q: queries (B, heads, tokens, d), in row-major order; the result has their shape.
        k: keys, same shape.
        v: values, same shape.
        grid: (rows, columns).
        bias: of the relative positions; a :class:`RelativePositionBias` or its call.
        kernel: None is that of :func:`choose_kernel`.
    """
    kernel = kernel or choose_kernel(q.device, grid[0] * grid[1])
    if kernel == Kernel.FLEX:
        return _flex_attention(q, k, v, grid, bias)
    if kernel == Kernel.TILES:
        return _tiled_attention(q, k, v, grid, bias)
    mask = bias(grid, grid).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None])


def _count_tiles(grid: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the tiles that cover a grid, and the cells that they reach beyond it, per axis."""
    rows, columns = (-(-side // TILE) for side in grid)
    return (rows, columns), (rows * TILE - grid[0], columns * TILE - grid[1])


class _Run(NamedTuple):
    """Neighbouring tiles of one axis that have equal sizes, and whose keys lie alike.

    Attributes:
        tiles: how many.
        first: cell of the first query.
        queries: cells of each.
        first_key: cell of the first tile's first key.
        keys: cells of each tile's keys.
        before: keys before the first query of each tile.
    """

    tiles: int
    first: int
    queries: int
    first_key: int
    keys: int
    before: int

    @property
    def layout(self) -> tuple[int, int, int]:
        """Counts that all tiles of a run share: queries, keys, and keys before the first query."""
        return self.queries, self.keys, self.before


def _cut_axis(cells: int) -> list[_Run]:
    """Cut an axis into tiles; the keys of those at its ends are fewer, since none lie outside."""
    runs: list[_Run] = []
    for first in range(0, cells, TILE):
        end, first_key = min(first + TILE, cells), max(0, first - RADIUS)
        keys = min(end + RADIUS, cells) - first_key
        tile = _Run(1, first, end - first, first_key, keys, first - first_key)
        last = runs[-1] if runs else None
        if last and last.layout == tile.layout:
            runs[-1] = last._replace(tiles=last.tiles + 1)
        else:
            runs.append(tile)
    return runs


def _tiled_attention(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], bias: Bias) -> Tensor:
    window = TILE + 2 * RADIUS
    near = bias((TILE, TILE), (window, window), origin=-RADIUS).to(q.dtype)
    near = near.unflatten(2, (window, window)).unflatten(1, (TILE, TILE))
    queries, keys, values = (x.unflatten(2, grid) for x in (q, k, v))
    if _exporting():
        # The optimiser of a program takes a time that grows with the square of its operations, so
        # all tiles are one run: keys outside the grid are there, and masked.
        counts, extra = _count_tiles(grid)
        around = (0, 0, RADIUS, RADIUS + extra[1], RADIUS, RADIUS + extra[0])
        inside = F.pad(queries.new_ones(len(q), 1, *grid, 1), around)
        queries = F.pad(queries, (0, 0, 0, extra[1], 0, extra[0]))
        keys, values = (F.pad(x, around) for x in (keys, values))
        rows, columns = ([_Run(tiles, 0, TILE, 0, window, RADIUS)] for tiles in counts)
    else:
        inside, (rows, columns) = None, map(_cut_axis, grid)

    def attend(y: _Run, x: _Run) -> Tensor:
        """Compute the tiles of a run of rows and one of columns: (B, heads, rows, columns, d)."""

        def cut(cells: Tensor, first: tuple[int, int], sides: tuple[int, int]) -> Tensor:
            """Cut tokens (B, heads, rows, columns, d) to squares: (B * tiles, heads, cells, d)."""
            for axis, (run, start, side) in enumerate(zip((y, x), first, sides, strict=True), 2):
                length = side + TILE * (run.tiles - 1)
                cells = cells.narrow(axis, start, length).unfold(axis, side, TILE)
            cells = cells.permute(0, 2, 3, 1, 5, 6, 4).flatten(4, 5).flatten(0, 2)
            return cells.contiguous()  # fast kernels of attention take no other order

        mask = near[:, : y.queries, : x.queries]
        for axis, run in ((3, y), (4, x)):
            mask = mask.narrow(axis, RADIUS - run.before, run.keys)
        mask = mask.flatten(3, 4).flatten(1, 2)[None]
        first_keys, sides = (y.first_key, x.first_key), (y.keys, x.keys)
        if inside is not None:
            mask = mask + MASKED * (1 - cut(inside, first_keys, sides).transpose(2, 3))
        out = F.scaled_dot_product_attention(
            cut(queries, (y.first, x.first), (y.queries, x.queries)),
            cut(keys, first_keys, sides),
            cut(values, first_keys, sides),
            attn_mask=mask,
        )
        out = out.unflatten(2, (y.queries, x.queries)).unflatten(0, (-1, y.tiles, x.tiles))
        return out.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3)

    strips = [torch.cat([attend(y, x) for x in columns], dim=3) for y in rows]
    return torch.cat(strips, dim=2)[:, :, : grid[0], : grid[1]].flatten(2, 3)


def _exporting() -> bool:
    """Return True while a program is exported; before PyTorch 2.7 also while one is compiled."""
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


def _flex_attention(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], bias: Bias) -> Tensor:
    from torch.nn.attention.flex_attention import BlockMask  # takes a third of a second

    rows, columns = grid
    counts, extra = _count_tiles(grid)
    # Offsets fall while the keys of one query run through its neighbourhood.
    table = bias((1, 1), (SIDE, SIDE), origin=-RADIUS).flatten(1).flip(1).flatten().to(q.dtype)

    def place(token: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and column of a token in the order of tiles."""
        tile, cell = token // TILE**2, token % TILE**2
        y = tile // counts[1] * TILE + cell // TILE
        return y, tile % counts[1] * TILE + cell % TILE

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        (qy, qx), (ky, kx) = place(query), place(key)
        near = ((qy - ky).abs() <= RADIUS) & ((qx - kx).abs() <= RADIUS)
        # A query outside the grid sees itself, since a softmax of nothing has no gradient.
        return near & (ky < rows) & (kx < columns) | (query == key)

    def biased(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        (qy, qx), (ky, kx) = place(query), place(key)
        dy, dx = ((a - b + RADIUS).clamp(0, SIDE - 1) for a, b in ((qy, ky), (qx, kx)))
        return score + table[(head * SIDE + dy) * SIDE + dx]

    def tile(x: Tensor) -> Tensor:
        """Reorder tokens (B, heads, tokens, d), tile after tile."""
        x = F.pad(x.unflatten(2, grid), (0, 0, 0, extra[1], 0, extra[0]))
        x = x.unflatten(3, (-1, TILE)).unflatten(2, (-1, TILE)).transpose(3, 4)
        return x.flatten(2, 5).contiguous()

    blocks = BlockMask.from_kv_blocks(
        *_neighbours(counts, q.device), BLOCK_SIZE=TILE**2, mask_mod=sees
    )
    attend = _flex_kernel(q.device.type, torch.compiler.is_compiling())
    out = attend(*map(tile, (q, k, v)), score_mod=biased, block_mask=blocks)
    out = out.unflatten(2, (*counts, TILE, TILE)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return out[:, :, :rows, :columns].flatten(2, 3)


def _flex_kernel(device: str, compiling: bool) -> Callable[..., Tensor]:
    """Return FlexAttention, compiled on a GPU, where it would materialise all pairs otherwise."""
    from torch.nn.attention.flex_attention import flex_attention

    attend: Callable[..., Tensor] = flex_attention
    return attend if compiling or device == "cpu" else _compiled(attend)


@cache
def _compiled(attend: Callable[..., Tensor]) -> Callable[..., Tensor]:
    compiled = torch.compile(attend, dynamic=False, fullgraph=True)
    config: Any = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"

    def call(*inputs: Tensor, **more: Any) -> Tensor:
        # A kernel for every grid, batch and format: torch refuses the ninth otherwise.
        with config.patch({limit: KERNELS}):
            return compiled(*inputs, **more)

    return call


def _neighbours(counts: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return how many tiles each tile sees, and which come first: (1, 1, tiles), (.., tiles)."""
    y, x = (
        place.flatten()
        for place in torch.meshgrid(
            *(torch.arange(count, device=device) for count in counts), indexing="ij"
        )
    )
    adjacent = ((y[:, None] - y).abs() <= 1) & ((x[:, None] - x).abs() <= 1)
    order = adjacent.to(torch.int32).argsort(dim=1, descending=True, stable=True)
    return adjacent.sum(1).int()[None, None], order.int()[None, None]
