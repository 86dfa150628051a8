"""Crops of photos that were decoded once and stay in memory, resized in batches on the device.

Places of crops are those of :class:`ssdd_bench.train.batches.CropBatches`, number by number. So is
the filter, Pillow's: the photo is averaged over blocks of pixels, once for every size of blocks
that a recipe needs, and resized by Lanczos, rounded to uint8 after columns and after rows. Pixels
differ by a level here and there; where nothing is resized they are equal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import OptionError
from ssdd_bench.train.batches import (
    AHEAD,
    CPU,
    REDUCING_GAP,
    WORKERS,
    Crop,
    CropBatches,
    Shard,
    resized,
    to_device,
    to_network,
)

LOBES = 3  # of the Lanczos filter, on either side
HOST_SHARE = 0.8  # of the free memory that photos may take
DEVICE_SHARE = 0.5  # of the free memory of a GPU; the rest is for training
SAMPLE = 32  # photos after which the memory for all is known well enough
STEP = 32  # windows have a multiple of this many pixels, so that few sizes of memory are in use
PART = 2**25  # pixels of windows that are resized together

# Columns of a plan before the centres of the crop's columns and rows.
PHOTO, STRIDE, X, Y, X_END, Y_END, X_SCALE, Y_SCALE = range(8)
FACTS = 8

Factor = tuple[int, int]
"""Width and height of the blocks of a photo that are averaged before it is resized."""


@dataclass(frozen=True)
class Photo:
    """A photo averaged over blocks of pixels, for each size of blocks that crops are made from."""

    size: tuple[int, int]  # width and height of the photo
    levels: dict[Factor, NDArray[np.uint8]]  # (height, width, 3) empty once a GPU has them
    places: dict[Factor, tuple[int, int, int]]  # first pixel among all photos', height and width


@dataclass(frozen=True)
class Plan:
    """Places of a shard's crops.

    ``rows`` is float64 (size, FACTS + 2 * side): position of the level's first pixel, its width,
    the window's first column and row, the number of columns and rows from there to the level's
    end, pixels of the level per pixel of the crop, and the centres of the crop's columns and rows
    within the window. ``windows`` is uint8 (size, height, width, 3) where the host has the photos.
    """

    rows: Tensor
    height: int
    width: int
    windows: Tensor | None


class DecodedCrops(CropBatches):
    """Crops of photos that stay in memory, as uint8: on a GPU where they fit, or in the host's."""

    _photos: list[Photo] | None = None
    _pixels: Tensor | None = None  # (3, pixels of all levels) on a GPU
    _pinned = False  # copies to a GPU start from pinned memory

    def __call__(
        self, shards: Iterator[Shard], device: torch.device = CPU
    ) -> Generator[Tensor, None, None]:
        """Yield the images of each shard: float32 (size, 3, side, side) in [-1, 1]."""
        if self._photos is None:
            self._photos = self.decode()
            self._pinned = device.type == "cuda"
            if fits(self._photos, device):
                self._pixels = upload(self._photos, device)
        with ThreadPoolExecutor(1 if self._pixels is not None else min(AHEAD, WORKERS)) as pool:
            ahead: deque[Future[Plan]] = deque()
            try:
                while True:
                    while len(ahead) < AHEAD:
                        ahead.append(pool.submit(self.plan, next(shards)))
                    yield self.make(ahead.popleft().result(), device)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def decode(self) -> list[Photo]:
        """Decode every photo to train on.

        Raises:
            DataError: one cannot be decoded.
            OptionError: they take more memory than is free.
        """
        free = HOST_SHARE * psutil.virtual_memory().available
        photos: list[Photo] = []
        start = 0
        with ThreadPoolExecutor(WORKERS) as pool:
            for size, levels in pool.map(self._read, self.ids):
                places = {}
                for factor, level in levels.items():
                    height, width, _ = level.shape
                    places[factor] = start, height, width
                    start += height * width
                photos.append(Photo(size, levels, places))
                expected = 3 * start / len(photos) * len(self.ids)
                if len(photos) >= min(SAMPLE, len(self.ids)) and expected > free:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise OptionError(
                        f"decoded photos need about {expected / 1e9:.1f} GB and {free / 1e9:.1f} "
                        'GB are free: set photos = "files" in the recipe, or use fewer photos'
                    )
        return photos

    def _read(self, name: str) -> tuple[tuple[int, int], dict[Factor, NDArray[np.uint8]]]:
        image = self.source.read_named(name)
        side = self.recipe.resolution
        factors = {
            reduction(image.size, resized(image.size, shorter, side))
            for shorter in range(*self.shorter_sides)
        }
        return image.size, {
            factor: np.array(image.reduce(factor) if factor != (1, 1) else image)
            for factor in sorted(factors)
        }

    def plan(self, shard: Shard) -> Plan:
        """Choose the places of a shard's crops; cut their windows where the host has the photos."""
        assert self._photos is not None
        side, size = self.recipe.resolution, shard.size
        rows = np.empty((size, FACTS + 2 * side))
        ends = np.empty((size, 2))  # columns and rows that each window needs
        sources: list[NDArray[np.uint8] | None] = []
        for row, n in zip(range(size), shard.numbers, strict=True):
            photo = self._photos[self.photo(n)]
            crop = self.place(n, photo.size)
            factor = reduction(photo.size, (crop.width, crop.height))
            start, *shape = photo.places[factor]
            sources.append(photo.levels.get(factor))
            rows[row, PHOTO], rows[row, STRIDE] = start, shape[1]
            scales, centres = locate(crop, photo.size, factor, side)
            for axis in range(2):
                radius = LOBES * max(scales[axis], 1.0)
                first = max(0, int(centres[axis].min() - radius))
                ends[row, axis] = centres[axis].max() + radius - first
                rows[row, X + axis] = first
                rows[row, X_END + axis] = shape[1 - axis] - first
                rows[row, X_SCALE + axis] = scales[axis]
                place = FACTS + axis * side
                rows[row, place : place + side] = centres[axis] - first
        width, height = (int(-(-end // STEP) * STEP) for end in np.ceil(ends.max(0)))
        windows = None
        if self._pixels is None:
            windows = torch.empty(
                size, height, width, 3, dtype=torch.uint8, pin_memory=self._pinned
            )
            cut = windows.numpy()
            for row, level in enumerate(sources):
                assert level is not None
                x, y = rows[row, X : Y + 1].astype(int)
                part = level[y : y + height, x : x + width]
                cut[row, : part.shape[0], : part.shape[1]] = part
        return Plan(torch.from_numpy(rows), height, width, windows)

    def make(self, plan: Plan, device: torch.device) -> Tensor:
        """Cut, resize and mirror the crops of a plan on the device."""
        rows = to_device(plan.rows, device)
        windows = to_device(plan.windows, device) if plan.windows is not None else None
        count = max(1, PART // (plan.height * plan.width))
        parts = []
        for start in range(0, len(rows), count):
            some = rows[start : start + count]
            if windows is not None:
                pixels = windows[start : start + count].permute(0, 1, 3, 2)
            else:
                assert self._pixels is not None
                pixels = cut_windows(self._pixels, some, plan.height, plan.width)
            parts.append(resample(pixels, some, self.recipe.resolution))
        return to_network(torch.cat(parts))


def reduction(size: tuple[int, int], target: tuple[int, int]) -> Factor:
    """Return the blocks that are averaged before resizing to (width, height), as in Pillow."""
    width, height = (int(a / b / REDUCING_GAP) or 1 for a, b in zip(size, target, strict=True))
    return width, height


def locate(
    crop: Crop, size: tuple[int, int], factor: Factor, side: int
) -> tuple[tuple[float, float], tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """Return pixels of a level per pixel of the crop, and the centres of its columns and rows."""
    scales = (size[0] / factor[0] / crop.width, size[1] / factor[1] / crop.height)
    steps = np.arange(side) + 0.5
    columns = (crop.left + steps) * scales[0]
    if crop.mirrored:
        columns = columns[::-1]
    return scales, (columns, (crop.top + steps) * scales[1])


def fits(photos: list[Photo], device: torch.device) -> bool:
    """Return True if a GPU has room for the photos."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    used = sum(level.nbytes for photo in photos for level in photo.levels.values())
    return used <= DEVICE_SHARE * free


def upload(photos: list[Photo], device: torch.device) -> Tensor:
    """Move all levels of all photos to a device: uint8 (3, pixels)."""
    levels = [level for photo in photos for level in photo.levels.values()]
    count = sum(level.size // 3 for level in levels)
    pixels = torch.empty(3, count, dtype=torch.uint8, device=device)
    end = 0
    for level in levels:
        start, end = end, end + level.size // 3
        pixels[:, start:end] = torch.from_numpy(level.reshape(-1, 3)).to(device).T
    for photo in photos:
        photo.levels.clear()
    return pixels


def cut_windows(pixels: Tensor, rows: Tensor, height: int, width: int) -> Tensor:
    """Cut windows of a plan's rows out of all pixels: uint8 (size, height, 3, width).

    Pixels beyond the end of a level are repeated ones, which have no weight.
    """
    facts = rows[:, :X_SCALE].long()
    down = torch.arange(height, device=rows.device).minimum(facts[:, Y_END, None] - 1)
    across = torch.arange(width, device=rows.device).minimum(facts[:, X_END, None] - 1)
    lines = facts[:, PHOTO, None] + (facts[:, Y, None] + down) * facts[:, STRIDE, None]
    columns = facts[:, X, None] + across
    return pixels[:, lines[:, :, None] + columns[:, None, :]].permute(1, 2, 0, 3)


def resample(pixels: Tensor, rows: Tensor, side: int) -> Tensor:
    """Resize windows, uint8 (size, height, 3, width), to crops: uint8-valued (size, side, side, 3).

    Columns first, then rows, both rounded, as Pillow does.
    """
    size, height, _, width = pixels.shape
    across = weights(rows[:, FACTS : FACTS + side], rows[:, X_SCALE], rows[:, X_END], width)
    down = weights(rows[:, FACTS + side :], rows[:, Y_SCALE], rows[:, Y_END], height)
    wide = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    narrow = _round(wide.reshape(size, height * 3, width) @ across.mT)
    crops = _round(down @ narrow.view(size, height, 3 * side))
    return crops.view(size, side, 3, side).permute(0, 1, 3, 2).contiguous()


def weights(centres: Tensor, scale: Tensor, end: Tensor, length: int) -> Tensor:
    """Compute weights (B, side, length) of a window's pixels for the pixels of a crop.

    Args:
        centres: (B, side), in pixels of the window.
        scale: (B,), pixels of the window per pixel of the crop.
        end: (B,), number of pixels of the window that exist.
        length: pixels of a window.
    """
    at = torch.arange(length, device=centres.device, dtype=torch.float32)
    stretch = scale.clamp(min=1).float()[:, None, None]
    x = (at + 0.5 - centres.float()[:, :, None]) / stretch
    inside = (x.abs() < LOBES) & (at < end[:, None, None])
    found = torch.where(inside, torch.sinc(x) * torch.sinc(x / LOBES), 0.0)
    return found / found.sum(dim=2, keepdim=True)


def _round(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)
