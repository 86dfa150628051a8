"""Cropped batches of a source's images, decoded ahead, in a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import executor
from ssdd_bench.errors import DataError, UnknownNameError, counted

MOST_IN_TASK = 4
"""Images that a thread loads at a time."""
BATCHES_AHEAD = 3
"""Batches that are decoded or under way while one is worked on."""

T = TypeVar("T")


class _Place(NamedTuple):
    """An image in the order of loading: its id, its group, and True if it is the group's last."""

    image_id: str
    group: int
    last: bool


class _Loaded(NamedTuple):
    """An image, or the error in its place."""

    place: _Place
    crop: NDArray[np.uint8] | DataError  # (3, size, size)
    enlarged: bool


@dataclass(frozen=True)
class Batch:
    """Images of one group, in order.

    Attributes:
        ids: of the images.
        images: uint8 (B, 3, size, size) on the CPU.
        group: number of the group, from 0.
        last: True for the last batch of its group.
        skipped: ids since the batch before it that could not be decoded, with the reason.
        enlarged: number of images that are smaller than the resolution.
    """

    ids: tuple[str, ...]
    images: Tensor
    group: int = 0
    last: bool = False
    skipped: Mapping[str, str] = field(default_factory=dict)
    enlarged: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class _Forming:
    """A batch that is being put together."""

    crops: list[tuple[str, NDArray[np.uint8]]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    enlarged: int = 0


class ImageLoader:
    """Iterate over images in batches; each ``for`` starts from the first image.

    The last batch of a group may be smaller. Order and pixels depend neither on ``batch_size`` nor
    on ``threads``. An image smaller than the resolution is enlarged by the crop.

    Threads are enough: Pillow lets other threads run while it decodes and resizes.

    Attributes:
        threads: threads that decode ahead.

    Args:
        source: from :func:`ssdd_bench.data.images.open_images`.
        resolution: side of the square crops in pixels.
        crop: name in :data:`ssdd_bench.data.preprocessing.CROPS`.
        batch_size: images per batch.
        strict: True raises at the first image that cannot be decoded instead of skipping it.
        threads: threads that decode ahead, besides a quarter as many that put batches together; 0
            decodes an image when it is asked for.
        pin: True puts the batches into page-locked memory, from which copies to a GPU are
            asynchronous.
        groups: ids of the images to load, by group; none is empty. A batch never has images of two
            groups, and bad images do not move their borders. By default one group of all images.

    Raises:
        DataError: while iterating: with ``strict`` for the first bad image; otherwise, and without
            ``groups``, when every image is bad.
    """

    def __init__(
        self,
        source: ImageSource,
        resolution: int,
        crop: str,
        batch_size: int,
        strict: bool = False,
        threads: int = 1,
        pin: bool = False,
        groups: Sequence[Sequence[str]] | None = None,
    ) -> None:
        if crop not in CROPS:
            raise UnknownNameError("crop", crop, CROPS)
        self._source = source
        self._resolution = resolution
        self._crop = CROPS[crop]
        self._batch_size = batch_size
        self._strict = strict
        self.threads = threads
        self._pin = pin
        self._groups = groups

    def __iter__(self) -> Iterator[Batch]:
        for batch, _ in self.prepared(lambda batch: None):
            if batch.ids:
                yield batch

    def prepared(self, prepare: Callable[[Batch], T]) -> Iterator[tuple[Batch, T]]:
        """Yield each batch with what ``prepare`` makes of it, in a loading thread and ahead too.

        ``prepare`` may be called for several batches at once. The last batch of a group may be
        empty, if its last images are bad.
        """
        places = self._places()
        # Bounded, so that memory does not grow with the set. In line nothing is ahead.
        ahead = BATCHES_AHEAD * self._batch_size + self.threads if self.threads else 1
        # A task takes several images of a large batch: each costs the caller some 20 us.
        block = 1
        if self.threads:
            block = max(1, min(MOST_IN_TASK, self._batch_size // self.threads))
        loading: deque[Future[list[_Loaded]]] = deque()
        ready: deque[Future[tuple[Batch, T]]] = deque()
        forming = _Forming()
        good = 0
        bad: tuple[str, str] | None = None  # the first one

        def finish(forming: _Forming, place: _Place) -> tuple[Batch, T]:
            batch = self._batch(forming, place)
            return batch, prepare(batch)

        # Batches are put together by threads of their own: behind the images in the queue of the
        # others, each batch would wait for images of later ones.
        finishers = -(-self.threads // 4)
        with executor(self.threads, "load") as pool, executor(finishers, "load-batch") as finisher:
            while True:
                room = ahead - self._batch_size * len(ready) - block * len(loading)
                while room >= block and (some := tuple(islice(places, block))):
                    loading.append(pool.submit(self._load_some, some))
                    room -= block
                # Batches are put together as soon as their images are decoded. An image that is
                # not decoded yet, or bad, has its turn when there is no batch left.
                if ready and not (loading and _is_decoded(loading[0])):
                    yield ready.popleft().result()
                    continue
                if not loading:
                    break
                for place, crop, enlarged in loading.popleft().result():
                    if isinstance(crop, DataError):
                        if self._strict:
                            name = f"{self._source.name}: {place.image_id}"
                            raise DataError(f"{name}: {crop}") from crop
                        forming.skipped[place.image_id] = str(crop)
                        bad = bad or (place.image_id, str(crop))
                    else:
                        forming.crops.append((place.image_id, crop))
                        forming.enlarged += enlarged
                        good += 1
                    if place.last or len(forming.crops) == self._batch_size:
                        ready.append(finisher.submit(finish, forming, place))
                        forming = _Forming()
        if bad and not good and self._groups is None:
            raise nothing_decoded(self._source.name, len(self._source), *bad)

    def _places(self) -> Iterator[_Place]:
        groups = [self._source.ids] if self._groups is None else self._groups
        for group, ids in enumerate(groups):
            for number, image_id in enumerate(ids, start=1):
                yield _Place(image_id, group, number == len(ids))

    def _load_some(self, places: Sequence[_Place]) -> list[_Loaded]:
        return [self._load(place) for place in places]

    def _load(self, place: _Place) -> _Loaded:
        """Read and crop an image; an error is returned, to be raised or counted in its turn."""
        try:
            image = self._source.read(place.image_id)
            crop = self._crop(image, self._resolution)
            small = min(image.size) < self._resolution
            return _Loaded(place, np.ascontiguousarray(crop.transpose(2, 0, 1)), small)
        except DataError as error:
            return _Loaded(place, error, False)

    def _batch(self, forming: _Forming, place: _Place) -> Batch:
        """Put a batch together that ends with this image."""
        shape = (len(forming.crops), 3, self._resolution, self._resolution)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pin)
        if forming.crops:
            np.stack([crop for _, crop in forming.crops], out=images.numpy())
        ids = tuple(image_id for image_id, _ in forming.crops)
        return Batch(ids, images, place.group, place.last, forming.skipped, forming.enlarged)


def nothing_decoded(name: str, count: int, first: str, reason: str) -> DataError:
    """Return the error for a set of which every image is bad."""
    images = counted(count, "image")
    return DataError(f"{name}: none of {images} could be decoded; the first is {first}: {reason}")


def _is_decoded(task: Future[list[_Loaded]]) -> bool:
    """Return True if all images of a task are there and good."""
    if not task.done() or task.exception() is not None:
        return False
    return not any(isinstance(one.crop, DataError) for one in task.result())
