"""Cropped batches of a source's images, decoded ahead, in a fixed order."""

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

WORKERS = 2  # decoding threads

# Id, crop or error, and True if the crop is enlarged.
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

    The last batch may be smaller. Order and pixels do not depend on ``batch_size``. An image
    smaller than the resolution is enlarged by the crop.

    Attributes:
        skipped: ids that could not be decoded, with the reason, in this pass so far.
        upscaled: number of enlarged images in this pass so far.

    Args:
        source: from :func:`ssdd_bench.data.images.open_images`.
        resolution: side of the square crops in pixels.
        crop: name in :data:`ssdd_bench.data.preprocessing.CROPS`.
        batch_size: images per batch.
        strict: True raises at the first image that cannot be decoded instead of skipping it.

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

    def __iter__(self) -> Iterator[Batch]:
        self.skipped = {}
        self.upscaled = 0
        ids: list[str] = []
        crops: list[NDArray[np.uint8]] = []
        for image_id, crop, enlarged in self._load_all():
            if isinstance(crop, DataError):
                if self._strict:
                    raise DataError(f"{self._source.name}: {image_id}: {crop}") from crop
                self.skipped[image_id] = str(crop)
                continue
            self.upscaled += enlarged
            ids.append(image_id)
            crops.append(crop)
            if len(ids) == self._batch_size:
                yield _batch(ids, crops)
                ids, crops = [], []
        if ids:
            yield _batch(ids, crops)
        if len(self.skipped) == len(self._source):
            first, reason = next(iter(self.skipped.items()))
            raise DataError(
                f"none of the {len(self._source)} images of {self._source.name} could be decoded; "
                f"the first is {first}: {reason}"
            )

    def _load_all(self) -> Iterator[Loaded]:
        # Enough ahead to fill the next batch while this one is worked on, and no more, so that
        # memory does not grow with the set.
        ahead = self._batch_size + WORKERS
        pending: deque[Future[Loaded]] = deque()
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="decode")
        try:
            for image_id in self._source.ids:
                pending.append(pool.submit(self._load, image_id))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, image_id: str) -> Loaded:
        """Read and crop an image; an error is returned, to be raised or counted in its turn."""
        try:
            image = self._source.read(image_id)
            crop = self._crop(image, self._resolution)
            return image_id, crop, min(image.size) < self._resolution
        except DataError as error:
            return image_id, error, False


def _batch(ids: list[str], crops: list[NDArray[np.uint8]]) -> Batch:
    stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return Batch(tuple(ids), stacked)
