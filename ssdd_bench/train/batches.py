"""Training data: shards of a batch, and random crops that depend on the seed and a number only.

Crops are made from files here, as they are needed; :mod:`ssdd_bench.train.decoded` keeps photos in
memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssdd_bench.data.decode import check_size
from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import DataError
from ssdd_bench.launch.processes import cores
from ssdd_bench.train.recipe import CropRecipe

REDUCING_GAP = 2.0  # a photo is first averaged over blocks to at least this times the size
AHEAD = 3  # shards that are decoded before the loop needs them
CPU = torch.device("cpu")
WORKERS = min(16, cores())  # decoding threads


@dataclass(frozen=True)
class Shard:
    """Part of an iteration's batch that one process computes in one pass."""

    iteration: int  # counted from 0
    start: int  # first row of the shard in the batch
    size: int  # rows of the shard
    batch_size: int  # rows of the whole batch, over all processes

    @property
    def rows(self) -> slice:
        """Rows of the shard in the batch."""
        return slice(self.start, self.start + self.size)

    @property
    def numbers(self) -> range:
        """Numbers of the shard's images, counted over the whole run."""
        first = self.iteration * self.batch_size + self.start
        return range(first, first + self.size)


Batches = Callable[[Iterator[Shard], torch.device], Generator[Any, None, None]]
"""Yields the data of each shard, one tensor or several, on the device; a function of the seed."""


@dataclass(frozen=True)
class Crop:
    """Place of a crop in a photo."""

    width: int  # to which the photo is resized
    height: int
    left: int  # first column and row of the crop in the resized photo
    top: int
    mirrored: bool


class CropBatches:
    """Crops of images, resized by Lanczos and flipped at random, decoded ahead by threads.

    The shorter side gets a length from ``min_side`` to ``max_side``, uniformly; the crop has a
    uniform position and is mirrored every other time.

    The ``n``-th image of a run is the same for any batch size and number of processes. The share
    ``holdout`` of the images is never trained on; ``DataError`` if none is left. They are those
    that ``ssdd-bench run --limit N`` reads, in ``held_out``; None if there are none.
    """

    def __init__(self, source: ImageSource, recipe: CropRecipe, holdout: float, seed: int) -> None:
        self.source, self.recipe, self.seed = source, recipe, seed
        count = round(len(source) * holdout)
        self.held_out = limited(source, count) if count else None
        without = set(self.held_out.ids if self.held_out else ())
        self.ids = tuple(name for name in source.ids if name not in without)
        if not self.ids:
            raise DataError(f"{source.name}: no image is left to train on")
        self._order = lru_cache(maxsize=2)(self._permute)

    def _permute(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.ids))

    def photo(self, n: int) -> int:
        """Return the index among ``ids`` of the photo that the ``n``-th crop is taken from."""
        epoch, position = divmod(n, len(self.ids))
        return int(self._order(epoch)[position])

    def place(self, n: int, size: tuple[int, int]) -> Crop:
        """Choose the place of the ``n``-th crop in its photo of (width, height)."""
        rng = np.random.default_rng([self.seed, 1, n])
        side = self.recipe.resolution
        width, height = resized(size, int(rng.integers(*self.shorter_sides)), side)
        left = int(rng.integers(0, width - side + 1))
        top = int(rng.integers(0, height - side + 1))
        return Crop(width, height, left, top, mirrored=bool(rng.random() < 0.5))

    @property
    def shorter_sides(self) -> tuple[int, int]:
        """Smallest length that a photo's shorter side is resized to, and the largest plus 1."""
        return self.recipe.min_side, self.recipe.max_side

    def crop(self, n: int) -> NDArray[np.uint8]:
        """Return the ``n``-th image of the run: uint8 (side, side, 3).

        Raises:
            DataError: its photo cannot be decoded, or is so elongated that it would not fit into
                memory when it is resized; names the photo.
        """
        name = self.ids[self.photo(n)]
        image = self.source.read_named(name)
        place, side = self.place(n, image.size), self.recipe.resolution
        try:
            check_size(place.width, place.height, self.source.max_mb)
        except DataError as error:
            raise DataError(f"{self.source.name}: {name}: resized, {error}") from error
        size = (place.width, place.height)
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
        box = (place.left, place.top, place.left + side, place.top + side)
        pixels = np.asarray(image.crop(box))
        return pixels[:, ::-1] if place.mirrored else pixels

    def __call__(
        self, shards: Iterator[Shard], device: torch.device = CPU
    ) -> Generator[Tensor, None, None]:
        """Yield the images of each shard: float32 (size, 3, side, side) in [-1, 1]."""
        with ThreadPoolExecutor(WORKERS) as pool:
            ahead: deque[list[Future[NDArray[np.uint8]]]] = deque()
            try:
                while True:
                    while len(ahead) < AHEAD:
                        ahead.append([pool.submit(self.crop, n) for n in next(shards).numbers])
                    pixels = np.stack([future.result() for future in ahead.popleft()])
                    yield to_network(to_device(torch.from_numpy(pixels), device))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def resized(size: tuple[int, int], shorter: int, side: int) -> tuple[int, int]:
    """Return (width, height) with a shorter side of this length, but at least that of a crop."""
    scale = shorter / min(size)
    width, height = (max(side, round(length * scale)) for length in size)
    return width, height


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy from the CPU without waiting for a GPU."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def to_network(pixels: Tensor) -> Tensor:
    """Convert uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1], channels last."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
