"""Cropped batches of a source's images, decoded ahead, in a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import executor
from ssdd_bench.errors import DataError, UnknownNameError

MOST_IN_TASK = 4
"""Images that a thread loads at a time."""
BATCHES_AHEAD = 3
"""Batches that are decoded or under way while one is worked on."""

T = TypeVar("T")

# Id, crop (3, size, size) or error, and True if the crop is enlarged.
Loaded = tuple[str, NDArray[np.uint8] | DataError, bool]


@dataclass(frozen=True)
class Batch:
    """Images, uint8 (B, 3, size, size) on the CPU, and their ids, in the source's order."""

    ids: tuple[str, ...]
    images: Tensor

    def __len__(self) -> int:
        return len(self.ids)


class ImageLoader:
    """Iterate over a source in batches; each ``for`` starts from the first image.

    The last batch may be smaller. Order and pixels depend neither on ``batch_size`` nor on
    ``workers``. An image smaller than the resolution is enlarged by the crop.

    Threads are enough: Pillow lets other threads run while it decodes and resizes.

    Attributes:
        skipped: ids that could not be decoded, with the reason, in this pass so far.
        upscaled: number of enlarged images in this pass so far.
        workers: threads that decode ahead.

    Args:
        source: from :func:`ssdd_bench.data.images.open_images`.
        resolution: side of the square crops in pixels.
        crop: name in :data:`ssdd_bench.data.preprocessing.CROPS`.
        batch_size: images per batch.
        group: a batch ends after every so many images too, so that none has images of two groups;
            bad images do not count. None for one group.
        strict: True raises at the first image that cannot be decoded instead of skipping it.
        workers: threads that decode ahead, besides a quarter as many that put batches together; 0
            decodes an image when it is asked for.
        pin: True puts the batches into page-locked memory, from which copies to a GPU are
            asynchronous.

    Raises:
        DataError: while iterating: with ``strict`` for the first bad image, otherwise when every
            image is bad.
    """

    def __init__(
        self,
        source: ImageSource,
        resolution: int,
        crop: str,
        batch_size: int,
        strict: bool = False,
        workers: int = 1,
        pin: bool = False,
        group: int | None = None,
    ) -> None:
        if crop not in CROPS:
            raise UnknownNameError("crop", crop, CROPS)
        self.skipped: dict[str, str] = {}
        self.upscaled = 0
        self._source = source
        self._resolution = resolution
        self._crop = CROPS[crop]
        self._batch_size = batch_size
        self._strict = strict
        self.workers = workers
        self._pin = pin
        self._group = group

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.prepared(lambda batch: None):
            yield batch

    def prepared(self, prepare: Callable[[Batch], T]) -> Iterator[tuple[Batch, T]]:
        """Yield each batch with what ``prepare`` makes of it, in a loading thread and ahead too.

        ``prepare`` may be called for several batches at once.
        """
        self.skipped = {}
        self.upscaled = 0
        ids = iter(self._source.ids)
        # Bounded, so that memory does not grow with the set. In line nothing is ahead.
        ahead = BATCHES_AHEAD * self._batch_size + self.workers if self.workers else 1
        # A task takes several images of a large batch: each costs the caller some 20 us.
        block = 1
        if self.workers:
            block = max(1, min(MOST_IN_TASK, self._batch_size // self.workers))
        loading: deque[Future[list[Loaded]]] = deque()
        crops: list[tuple[str, NDArray[np.uint8]]] = []
        ready: deque[Future[tuple[Batch, T]]] = deque()
        group = self._group or max(1, len(self._source))
        left = group  # images that the group still lacks

        def finish(crops: list[tuple[str, NDArray[np.uint8]]]) -> tuple[Batch, T]:
            batch = self._batch(crops)
            return batch, prepare(batch)

        # Batches are put together by threads of their own: behind the images in the queue of the
        # others, each batch would wait for images of later ones.
        finishers = -(-self.workers // 4)
        with executor(self.workers, "load") as pool, executor(finishers, "load-batch") as finisher:
            while True:
                room = ahead - self._batch_size * len(ready) - block * len(loading)
                while room >= block and (some := tuple(islice(ids, block))):
                    loading.append(pool.submit(self._load_some, some))
                    room -= block
                # Batches are put together as soon as their images are decoded. An image that is
                # not decoded yet, or bad, has its turn when there is no batch left.
                if loading and (not ready or _is_decoded(loading[0])):
                    crops += self._decoded(loading.popleft().result())
                elif crops and not loading and not ready:
                    ready.append(finisher.submit(finish, crops))
                    crops = []
                elif ready:
                    yield ready.popleft().result()
                else:
                    break
                while len(crops) >= (size := min(self._batch_size, left)):
                    ready.append(finisher.submit(finish, crops[:size]))
                    del crops[:size]
                    left = left - size or group
        if len(self.skipped) == len(self._source):
            first, reason = next(iter(self.skipped.items()))
            raise DataError(
                f"none of the {len(self._source)} images of {self._source.name} could be decoded; "
                f"the first is {first}: {reason}"
            )

    def _load_some(self, ids: Sequence[str]) -> list[Loaded]:
        return [self._load(image_id) for image_id in ids]

    def _load(self, image_id: str) -> Loaded:
        """Read and crop an image; an error is returned, to be raised or counted in its turn."""
        try:
            image = self._source.read(image_id)
            crop = self._crop(image, self._resolution)
            small = min(image.size) < self._resolution
            return image_id, np.ascontiguousarray(crop.transpose(2, 0, 1)), small
        except DataError as error:
            return image_id, error, False

    def _decoded(self, loaded: list[Loaded]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yield the ids and the crops of images that are not bad, and count them."""
        for image_id, crop, enlarged in loaded:
            if isinstance(crop, DataError):
                if self._strict:
                    raise DataError(f"{self._source.name}: {image_id}: {crop}") from crop
                self.skipped[image_id] = str(crop)
            else:
                self.upscaled += enlarged
                yield image_id, crop

    def _batch(self, crops: list[tuple[str, NDArray[np.uint8]]]) -> Batch:
        shape = (len(crops), 3, self._resolution, self._resolution)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pin)
        np.stack([crop for _, crop in crops], out=images.numpy())
        return Batch(tuple(image_id for image_id, _ in crops), images)


def _is_decoded(task: Future[list[Loaded]]) -> bool:
    """Return True if all images of a task are there and good."""
    if not task.done() or task.exception() is not None:
        return False
    return not any(isinstance(crop, DataError) for _, crop, _ in task.result())
