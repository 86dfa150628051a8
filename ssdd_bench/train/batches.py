"""Training data: shards of a batch, and random crops that depend on the seed and a number only."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import DataError
from ssdd_bench.train.recipe import CropRecipe

AHEAD = 3  # shards that are decoded before the loop needs them
WORKERS = min(8, os.cpu_count() or 1)  # decoding threads


@dataclass(frozen=True)
class Shard:
    """Part of an iteration's batch that one process computes in one pass."""

    iteration: int  # counted from 0
    start: int  # first row of the shard in the batch
    size: int  # rows of the shard
    batch_size: int  # rows of the whole batch, over all processes

    @property
    def first(self) -> int:
        """Number of the shard's first image, counted over the whole run."""
        return self.iteration * self.batch_size + self.start

    @property
    def rows(self) -> slice:
        """Rows of the shard in the batch."""
        return slice(self.start, self.start + self.size)

    @property
    def numbers(self) -> range:
        """Numbers of the shard's images, counted over the whole run."""
        return range(self.first, self.first + self.size)


Batches = Callable[[Iterator[Shard]], Generator[Any, None, None]]
"""Yields the data of each shard, one tensor or several, on the CPU; a function of the seed."""


class CropBatches:
    """Crops of images, resized by Lanczos and flipped at random, decoded ahead by threads.

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

    def crop(self, n: int) -> np.ndarray:
        """Return the ``n``-th image of the run: uint8 (side, side, 3)."""
        epoch, position = divmod(n, len(self.ids))
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.ids))
        rng = np.random.default_rng([self.seed, 1, n])
        image = self.source.read_named(self.ids[order[position]])
        side = self.recipe.resolution
        shorter = int(rng.integers(self.recipe.min_side, self.recipe.max_side))
        scale = shorter / min(image.size)
        width, height = (max(side, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        left = int(rng.integers(0, width - side + 1))
        top = int(rng.integers(0, height - side + 1))
        pixels = np.asarray(image.crop((left, top, left + side, top + side)))
        return pixels[:, ::-1] if rng.random() < 0.5 else pixels

    def __call__(self, shards: Iterator[Shard]) -> Generator[Tensor, None, None]:
        """Yield the images of each shard: float32 (size, 3, side, side) in [-1, 1]."""
        with ThreadPoolExecutor(WORKERS) as pool:
            ahead: deque[list[Future[np.ndarray]]] = deque()
            try:
                while True:
                    while len(ahead) < AHEAD:
                        ahead.append([pool.submit(self.crop, n) for n in next(shards).numbers])
                    pixels = np.stack([future.result() for future in ahead.popleft()])
                    yield torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
