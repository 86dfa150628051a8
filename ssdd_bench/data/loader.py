"""Bring a source's images in as cropped batches, decoded ahead, in a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, UnknownNameError


@dataclass(frozen=True)
class Batch:
    """Some images and their ids, in the source's order.

    Attributes:
        ids: B ids.
        images: uint8 (B, 3, size, size) on the CPU.
    """

    ids: tuple[str, ...]
    images: Tensor

    def __len__(self) -> int:
        return len(self.ids)


class ImageLoader:
    """One pass after another over a source; each ``for`` starts from the first image.

    Attributes:
        skipped: ids that could not be decoded, with the reason, in this pass so far.
        upscaled: images smaller than the resolution, enlarged by the crop, in this pass so far.
    """

    def __init__(
        self,
        source: ImageSource,
        resolution: int,
        crop: str,
        batch_size: int,
        strict: bool = False,
        workers: int = 2,
    ) -> None:
        if crop not in CROPS:
            raise UnknownNameError("crop", crop, CROPS)
        if resolution < 1 or batch_size < 1 or workers < 0:
            raise ValueError("resolution and batch_size start at 1, workers at 0")
        self.skipped: dict[str, str] = {}
        self.upscaled = 0
        self._source = source
        self._resolution = resolution
        self._crop = CROPS[crop]
        self._batch_size = batch_size
        self._strict = strict
        self._workers = workers

    def __iter__(self) -> Iterator[Batch]:
        self.skipped = {}
        self.upscaled = 0
        ids: list[str] = []
        crops: list[NDArray[np.uint8]] = []
        decoded = 0
        for image_id, loaded in self._load_all():
            if isinstance(loaded, DataError):
                if self._strict:
                    raise DataError(f"{self._source.name}: {image_id}: {loaded}") from loaded
                self.skipped[image_id] = str(loaded)
                continue
            pixels, enlarged = loaded
            self.upscaled += enlarged
            decoded += 1
            ids.append(image_id)
            crops.append(pixels)
            if len(ids) == self._batch_size:
                yield _batch(ids, crops)
                ids, crops = [], []
        if ids:
            yield _batch(ids, crops)
        if not decoded:
            first, reason = next(iter(self.skipped.items()))
            raise DataError(
                f"none of the {len(self._source)} images of {self._source.name} could be decoded; "
                f"the first is {first}: {reason}"
            )

    def _load_all(self) -> Iterator[tuple[str, tuple[NDArray[np.uint8], bool] | DataError]]:
        if not self._workers:
            for image_id in self._source.ids:
                yield image_id, self._load(image_id)
            return
        # Enough ahead to fill the next batch while this one is worked on, and no more, so that
        # memory does not grow with the set.
        ahead = self._batch_size + self._workers
        pending: deque[tuple[str, Future[tuple[NDArray[np.uint8], bool] | DataError]]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            for image_id in self._source.ids:
                pending.append((image_id, pool.submit(self._load, image_id)))
                if len(pending) >= ahead:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, image_id: str) -> tuple[NDArray[np.uint8], bool] | DataError:
        """The crop and whether it was enlarged; a failure is returned, to be met in its turn."""
        try:
            image = self._source.read(image_id)
            return self._crop(image, self._resolution), min(image.size) < self._resolution
        except DataError as error:
            return error


def iterate_batches(
    source: ImageSource,
    resolution: int,
    crop: str,
    batch_size: int,
    strict: bool = False,
    workers: int = 2,
) -> ImageLoader:
    """Iterate over a source in batches; what was skipped is on the returned loader.

    The last batch may be smaller. Order and pixels do not depend on ``batch_size`` or
    ``workers``. An image smaller than the resolution is enlarged by the crop, and counted.

    Args:
        source: from :func:`ssdd_bench.data.images.open_images`.
        resolution: side of the square crops in pixels.
        crop: name in :data:`ssdd_bench.data.preprocessing.CROPS`.
        batch_size: images per batch.
        strict: raise at the first image that cannot be decoded instead of skipping it.
        workers: decoding threads; 0 decodes in the calling thread.

    Raises:
        DataError: while iterating: with ``strict`` for the first bad image, otherwise when every
            image is bad.
        UnknownNameError: no such crop.
    """
    return ImageLoader(source, resolution, crop, batch_size, strict, workers)


def _batch(ids: list[str], crops: list[NDArray[np.uint8]]) -> Batch:
    stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return Batch(tuple(ids), stacked)
