"""Random training crops: a pure function of the seed and the image's number, for exact resuming."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import DataError
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.recipe import CropRecipe

AHEAD = 3  # shards that are decoded before the loop needs them


def held_out(source: ImageSource, fraction: float) -> ImageSource | None:
    """Select the images that are never trained on: those that ``ssdd-bench run --limit N`` reads.

    N is their number, ``round(fraction * images)``; None where that is 0.
    """
    count = round(len(source) * fraction)
    return limited(source, count) if count else None


def training_ids(source: ImageSource, fraction: float) -> tuple[str, ...]:
    """List all images but those of :func:`held_out`."""
    kept = held_out(source, fraction)
    without = set(kept.ids) if kept else set()
    return tuple(name for name in source.ids if name not in without)


class CropBatches:
    """Crops of images, resized by Lanczos and flipped at random, decoded ahead by threads.

    The ``n``-th image of a run is the same for any batch size and number of processes.

    Args:
        source: the images.
        stage: scales and side of the crops.
        holdout: share of the images that is never trained on.
        seed: of the order and of every crop.
        workers: decoding threads.

    Raises:
        DataError: no image is left to train on.
    """

    def __init__(
        self,
        source: ImageSource,
        stage: CropRecipe,
        holdout: float,
        seed: int,
        workers: int = 2,
    ) -> None:
        self.source = source
        self.ids = training_ids(source, holdout)
        if not self.ids:
            raise DataError(f"{source.name}: no image is left to train on")
        self.stage = stage
        self.seed = seed
        self.workers = workers

    def crop(self, n: int) -> np.ndarray:
        """Return the ``n``-th image of the run: uint8 (side, side, 3)."""
        epoch, position = divmod(n, len(self.ids))
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.ids))
        rng = np.random.default_rng([self.seed, 1, n])
        image = self.source.read_named(self.ids[order[position]])
        side = self.stage.resolution
        shorter = int(rng.integers(self.stage.min_side, self.stage.max_side))
        scale = shorter / min(image.size)
        width, height = (max(side, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        left = int(rng.integers(0, width - side + 1))
        top = int(rng.integers(0, height - side + 1))
        pixels = np.asarray(image.crop((left, top, left + side, top + side)))
        return pixels[:, ::-1] if rng.random() < 0.5 else pixels

    def batches(self, shards: Iterator[Shard]) -> Generator[Tensor, None, None]:
        """Yield the images of each shard: float32 (size, 3, side, side) in [-1, 1]."""
        with ThreadPoolExecutor(self.workers) as pool:
            ahead: deque[list[Future[np.ndarray]]] = deque()
            try:
                while True:
                    while len(ahead) < AHEAD:
                        shard = next(shards)
                        numbers = range(shard.first, shard.first + shard.size)
                        ahead.append([pool.submit(self.crop, n) for n in numbers])
                    pixels = np.stack([future.result() for future in ahead.popleft()])
                    yield torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
