"""Compute a map from overlapping tiles of its input, blended by linear ramps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ssdd_bench.errors import OptionError


@dataclass(frozen=True)
class Tiling:
    """Size of tiles in pixels, and the share of a side in which neighbours overlap."""

    tile: int = 512
    overlap: float = 0.25

    def check(self, cell: int) -> None:
        """Check the values for tiles that are whole cells of some pixels.

        Raises:
            OptionError: the tile is no multiple of the cell, or the overlap out of range.
        """
        if self.tile < cell or self.tile % cell:
            raise OptionError(f"tile is {self.tile} px. Pass a multiple of {cell}")
        if not 0 <= self.overlap <= 0.5:
            raise OptionError(f"overlap is {self.overlap}. Pass a share from 0 to 0.5")

    def blend(
        self,
        compute: Callable[[slice, slice], Tensor],
        size: tuple[int, int],
        cell: int,
        scale: int,
    ) -> Tensor:
        """Compute a map of an image tile by tile.

        A value that several tiles cover is their mean, weighted by ramps that fall towards the
        sides of each; the sides of the whole map have no ramp. Every tile has the full size, so
        that none at the end is a narrow strip.

        Args:
            compute: takes the rows and columns of a tile, in cells, and returns (B, C, h, w) with
                ``scale`` values per cell along each side.
            size: (height, width) of the image in pixels.
            cell: pixels per cell along one side.
            scale: values of the map per cell along one side.

        Returns:
            The whole map, in the tiles' dtype.
        """
        tile, grid = self.tile // cell, [side // cell for side in size]
        overlap = round(tile * self.overlap)
        rows, columns = (_starts(length, tile, overlap) for length in grid)
        total, weights = torch.zeros(()), torch.zeros(())
        for y, x in product(rows, columns):
            tops, lefts = slice(y, min(y + tile, grid[0])), slice(x, min(x + tile, grid[1]))
            part = compute(tops, lefts)
            if not total.ndim:
                height, width = (length * scale for length in grid)
                total = part.new_zeros((*part.shape[:2], height, width), dtype=torch.float32)
                weights = total.new_zeros(1, 1, height, width)
            vertical, horizontal = (
                _ramp(cells, length, overlap, scale).to(total)
                for cells, length in zip((tops, lefts), grid, strict=True)
            )
            weight = vertical[:, None] * horizontal
            cut(total, tops, lefts, scale).add_(part * weight)
            cut(weights, tops, lefts, scale).add_(weight)
        return (total / weights).to(part.dtype)


def cut(x: Tensor, rows: slice, columns: slice, scale: int) -> Tensor:
    """View the part of a map (B, C, H, W) that has ``scale`` values per cell along each side."""
    down, across = (slice(cells.start * scale, cells.stop * scale) for cells in (rows, columns))
    return x[..., down, across]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return the first cells of the tiles that cover a side; the last one ends with the side."""
    last = max(length - tile, 0)
    return [*range(0, last, tile - overlap), last]


def _ramp(cells: slice, length: int, overlap: int, scale: int) -> Tensor:
    """Return the weights of a tile along one side."""
    count, slope = (cells.stop - cells.start) * scale, max(overlap * scale, 1)
    places = torch.arange(count, dtype=torch.float32) + 0.5
    weight = torch.ones(count)
    if cells.start > 0:
        weight = weight.minimum(places / slope)
    if cells.stop < length:
        weight = weight.minimum((count - places) / slope)
    return weight
