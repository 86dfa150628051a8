"""Random training crops, a pure function of (seed, number of the image): so resuming is exact."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import DataError
from ssdd_bench.train.recipe import DataRecipe


def training_ids(source: ImageSource, holdout: float) -> tuple[str, ...]:
    """Leave out a fraction of the images: the very ones that ``ssdd-bench run --limit N`` reads.

    N is their number, ``round(holdout * images)``.
    """
    count = round(len(source) * holdout)
    held_out = set(limited(source, count).ids) if count else set()
    return tuple(name for name in source.ids if name not in held_out)


class CropStream:
    """Batches of crops, decoded ahead by threads; nothing is kept in memory.

    Args:
        source: the photographs.
        recipe: scales and side of the crops.
        batch_size: images per batch.
        seed: of the order and of every crop.
        workers: decoding threads.
    """

    def __init__(
        self,
        source: ImageSource,
        recipe: DataRecipe,
        batch_size: int,
        seed: int,
        workers: int = 2,
    ) -> None:
        self.source = source
        self.ids = training_ids(source, recipe.holdout)
        if not self.ids:
            raise DataError(f"{source.name}: no image is left to train on")
        self.recipe = recipe
        self.batch_size = batch_size
        self.seed = seed
        self.workers = workers

    def crop(self, n: int) -> np.ndarray:
        """The ``n``-th image of the run: uint8 (side, side, 3)."""
        epoch, position = divmod(n, len(self.ids))
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.ids))
        rng = np.random.default_rng([self.seed, 1, n])
        image = self.source.read(self.ids[order[position]])
        recipe = self.recipe
        shorter = int(rng.integers(recipe.min_side, recipe.max_side))
        scale = shorter / min(image.size)
        width, height = (max(recipe.resolution, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        left = int(rng.integers(0, width - recipe.resolution + 1))
        top = int(rng.integers(0, height - recipe.resolution + 1))
        crop = image.crop((left, top, left + recipe.resolution, top + recipe.resolution))
        pixels = np.asarray(crop)
        return pixels[:, ::-1] if rng.random() < 0.5 else pixels

    def batches(self, start: int) -> Iterator[Tensor]:
        """Endless batches from iteration ``start``: float32 (B, 3, side, side) in [-1, 1]."""
        with ThreadPoolExecutor(self.workers) as pool:
            ahead: deque[list[Future[np.ndarray]]] = deque()
            iteration = start
            try:
                while True:
                    while len(ahead) < 3:
                        first = iteration * self.batch_size
                        numbers = range(first, first + self.batch_size)
                        ahead.append([pool.submit(self.crop, n) for n in numbers])
                        iteration += 1
                    pixels = np.stack([future.result() for future in ahead.popleft()])
                    yield torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
