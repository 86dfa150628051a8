"""Self-attention in a neighbourhood, with a learned bias per relative position.

Every token sees the keys at most ``RADIUS`` cells away on both axes. Large grids are cut into tiles
that read only the keys around them, so that memory and time grow linearly with the tokens.
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
        """Compute the bias of a block of queries against a block of keys, sizes (rows, columns).

        ``origin`` is the row and column of the first key relative to the first query. Returns
        (heads, query cells, key cells), where pairs out of reach hold -1e7.
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
        q: queries (B, heads, tokens, d), in row-major order; the result has their shape.
        k: keys, same shape.
        v: values, same shape.
        grid: (rows, columns).
        bias: of the relative positions.
    """
    if grid[0] * grid[1] <= DENSE_TOKENS:
        mask = bias(grid, grid).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None])
    return _tiled_attention(q, k, v, grid, bias)


def _tiled_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], bias: RelativePositionBias
) -> Tensor:
    rows, columns = grid
    counts = (-(-rows // TILE), -(-columns // TILE))
    extra = (counts[0] * TILE - rows, counts[1] * TILE - columns)
    window = TILE + 2 * RADIUS

    def cut(x: Tensor, side: int, margin: int) -> Tensor:
        """Cut tokens (B, heads, tokens, d) to squares: (B, tiles, heads, side * side, d)."""
        pad = (0, 0, margin, margin + extra[1], margin, margin + extra[0])
        x = F.pad(x.unflatten(2, grid), pad).unfold(2, side, TILE).unfold(3, side, TILE)
        x = x.permute(0, 2, 3, 1, 5, 6, 4).flatten(4, 5).flatten(1, 2)
        return x.contiguous()  # fast kernels of attention take no other order

    queries = cut(q, TILE, 0)
    keys, values = (cut(x, window, RADIUS) for x in (k, v))
    inside = cut(q.new_ones(1, 1, rows * columns, 1), window, RADIUS)[0, ..., 0]
    near = bias((TILE, TILE), (window, window), origin=-RADIUS).to(q.dtype)
    mask = near[None] + MASKED * (1 - inside[:, :, None])
    # One image at a time: the mask is the same for all and would be copied for each otherwise.
    out = torch.stack(
        [
            F.scaled_dot_product_attention(*image, attn_mask=mask)
            for image in zip(queries, keys, values, strict=True)
        ]
    )
    out = out.unflatten(3, (TILE, TILE)).unflatten(1, counts).permute(0, 3, 1, 4, 2, 5, 6)
    out = out.flatten(4, 5).flatten(2, 3)[:, :, :rows, :columns]
    return out.flatten(2, 3)
