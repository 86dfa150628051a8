"""Self-attention in a neighbourhood, with a learned bias per relative position.

Every token sees the keys at most ``RADIUS`` cells away on both axes. On small grids the scores of
all pairs are computed and the far ones masked; on larger ones the queries are cut into tiles that
read only the keys around them, so that memory and time grow with the tokens, not their square.
Both ways give the same result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RADIUS = 7
TILE = 8
DENSE_TOKENS = 256  # up to this many tokens all pairs cost less than tiles
MASKED = -1e7


class RelativePositionBias(nn.Module):
    """A bias per head for every offset (query minus key) of a neighbourhood.

    ``relative_bias_table`` has shape (15, 15, heads): rows are dy + 7, columns dx + 7.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        side = 2 * RADIUS + 1
        self.relative_bias_table = nn.Parameter(torch.zeros(side, side, heads))

    def forward(self, query: tuple[int, int], key: tuple[int, int], origin: int = 0) -> Tensor:
        """Compute the bias of a block of queries against a block of keys.

        Args:
            query: (rows, columns) of the block of queries, whose first cell is (0, 0).
            key: (rows, columns) of the block of keys.
            origin: row and column of the first key, relative to the first query.

        Returns:
            (heads, query cells, key cells); pairs out of reach hold -1e7.
        """
        device = self.relative_bias_table.device
        offsets = [
            torch.arange(q, device=device)[:, None]
            - (torch.arange(k, device=device)[None, :] + origin)
            for q, k in zip(query, key, strict=True)
        ]
        dy, dx = (offset.clamp(-RADIUS, RADIUS) + RADIUS for offset in offsets)
        bias = self.relative_bias_table[dy][:, :, dx]  # (qy, ky, qx, kx, heads)
        far_y, far_x = (offset.abs() > RADIUS for offset in offsets)
        far = far_y[:, :, None, None] | far_x[None, None]
        bias = bias.masked_fill(far[..., None], MASKED)
        return bias.permute(4, 0, 2, 1, 3).reshape(-1, query[0] * query[1], key[0] * key[1])


def neighbourhood_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], bias: RelativePositionBias
) -> Tensor:
    """Compute softmax(q k / sqrt(d) + bias) v over each token's neighbourhood.

    Args:
        q: queries (B, heads, tokens, d), in row-major order of ``grid``.
        k: keys, same shape.
        v: values, same shape.
        grid: (rows, columns).
        bias: the table of relative positions.

    Returns:
        (B, heads, tokens, d).
    """
    if grid[0] * grid[1] <= DENSE_TOKENS:
        mask = bias(grid, grid).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None])
    return _tiled_attention(q, k, v, grid, bias)


def _tiled_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], bias: RelativePositionBias
) -> Tensor:
    batch, heads, _, width = q.shape
    rows, columns = grid
    tiles = (-(-rows // TILE), -(-columns // TILE))
    extra = (tiles[0] * TILE - rows, tiles[1] * TILE - columns)
    window = TILE + 2 * RADIUS

    def query_tiles(x: Tensor) -> Tensor:  # (B, tiles, heads, TILE * TILE, d)
        x = F.pad(x.unflatten(2, grid), (0, 0, 0, extra[1], 0, extra[0]))
        x = x.unflatten(3, (tiles[1], TILE)).unflatten(2, (tiles[0], TILE))
        return x.permute(0, 2, 4, 1, 3, 5, 6).reshape(batch, -1, heads, TILE * TILE, width)

    def key_windows(x: Tensor) -> Tensor:  # (..., rows, columns) -> (..., tiles, window * window)
        pad = (RADIUS, RADIUS + extra[1], RADIUS, RADIUS + extra[0])
        x = F.pad(x, pad).unfold(-2, window, TILE).unfold(-2, window, TILE)
        return x.flatten(-4, -3).flatten(-2)

    def key_tiles(x: Tensor) -> Tensor:  # (B, tiles, heads, window * window, d)
        maps = x.unflatten(2, grid).permute(0, 1, 4, 2, 3)
        # Contiguous, since fast kernels of attention take no other order.
        return key_windows(maps).permute(0, 3, 1, 4, 2).contiguous()

    outside = MASKED * (1 - key_windows(torch.ones(grid, dtype=q.dtype, device=q.device)))
    near = bias((TILE, TILE), (window, window), origin=-RADIUS).to(q.dtype)
    mask = near[None] + outside[:, None, None, :]
    # One image at a time: the mask is the same for all and would be copied for each otherwise.
    out = torch.stack(
        [
            F.scaled_dot_product_attention(*image, attn_mask=mask)
            for image in zip(query_tiles(q), key_tiles(k), key_tiles(v), strict=True)
        ]
    )
    out = out.unflatten(3, (TILE, TILE)).unflatten(1, tiles).permute(0, 3, 1, 4, 2, 5, 6)
    out = out.flatten(4, 5).flatten(2, 3)[:, :, :rows, :columns]
    return out.flatten(2, 3)
