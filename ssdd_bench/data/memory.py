"""Images that are in memory already: tensors, arrays, Pillow images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssdd_bench.api.pixels import check_range, round_to_uint8
from ssdd_bench.data.decode import MAX_IMAGE_MB, to_rgb
from ssdd_bench.data.images import open_images
from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import DataError, UserError

Paths = str | Path | Sequence[str | Path]
Images = Paths | ImageSource | Tensor | np.ndarray[Any, Any] | Iterable[Any]
"""Whatever :func:`as_source` takes."""


class MemoryImages(ImageSource):
    """Images by id, kept in memory as they are and converted when read."""

    name = "memory"

    def __init__(self, images: Mapping[str, Any], numbered: bool = False) -> None:
        self.ids = tuple(images if numbered else sorted(images))
        self.numbered = numbered
        self._images = images

    @property
    def places(self) -> tuple[str, ...]:
        """Ids in the order in which the images were given."""
        return tuple(self._images)

    def read(self, image_id: str) -> Image.Image:
        """Convert one image to RGB.

        Raises:
            UserError: it is no image. It came from the caller and not from a damaged file, so it is
                not left out.
        """
        try:
            return _to_pillow(self._images[image_id])
        except DataError as error:
            raise UserError(f"image '{image_id}': {error}") from None


def as_source(
    data: Images | None,
    limit: int | None = None,
    *,
    sample: int | None = None,
    sample_seed: int = 0,
    max_image_mb: int = MAX_IMAGE_MB,
) -> ImageSource:
    """Open images for reading one by one, whatever they are stored in.

    Args:
        data: the name of a data set, a file, several or a folder, see
            :func:`ssdd_bench.data.images.open_images`; a tensor (N, 3, H, W), uint8 or float in
            [0, 1]; an array (N, H, W, 3), uint8; a dict of images by id; or an iterable of images
            or of pairs (id, image), which are sorted by their ids as files are. An image is a
            Pillow image, a tensor (3, H, W) or an array (H, W, 3). Iterables are read to their end
            and kept in memory: give large sets as a folder or archive.
        limit: keep only that many, see :func:`ssdd_bench.data.source.limited`.
        sample: draw that many before ``limit`` is applied, by the same rule.
        sample_seed: of the draw; each seed has other images, and 0 those of ``limit``.
        max_image_mb: largest image file that is decoded, in MB as 8-bit RGB.

    Raises:
        DataError: nothing is there, or it is none of these.
    """
    if is_paths(data):
        source = open_images(data, max_image_mb=max_image_mb)
    else:
        source = data if isinstance(data, ImageSource) else _in_memory(data)
    source = source if sample is None else limited(source, sample, sample_seed)
    return source if limit is None else limited(source, limit)


def is_paths(data: Any) -> TypeGuard[Paths | None]:
    """Return True for what any process can open: None, a name, a path, a URL or a list of paths."""
    if data is None:
        return True
    paths = data if isinstance(data, list | tuple) else [data]
    return bool(paths) and all(isinstance(path, str | Path) for path in paths)


def _in_memory(data: Any) -> MemoryImages:
    is_sequence = isinstance(data, Iterable) or hasattr(data, "__getitem__")  # torch's data sets
    if isinstance(data, Image.Image) or not is_sequence:
        raise DataError(
            f"data is a {type(data).__name__}: give a path, the name of a data set, a tensor "
            "(N, 3, H, W), or an iterable of images or of pairs (id, image)"
        )
    if isinstance(data, Tensor | np.ndarray) and data.ndim != 4:
        raise DataError(f"data has shape {tuple(data.shape)}: give (N, 3, H, W) or (N, H, W, 3)")
    if not isinstance(data, Iterable) and hasattr(data, "__len__"):
        data = islice(data, len(data))  # an index past the end need not be an error of theirs
    if isinstance(data, Mapping):
        data = data.items()
    images: dict[str, Any] = {}
    named = False
    for index, item in enumerate(data):
        image_id = f"{index:06d}"
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            named = True
            image_id, item = item
        if image_id in images:
            raise DataError(f"data has two images with the id '{image_id}': keep one")
        images[image_id] = item
    if not images:
        raise DataError("data holds no image")
    return MemoryImages(images, numbered=not named)


def _to_pillow(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise DataError(f"tensor has shape {tuple(image.shape)}, expected (3, H, W)")
        if image.is_floating_point():
            check_range(image)
            image = round_to_uint8(image)
        image = image.permute(1, 2, 0).cpu().numpy()
    try:
        array = np.asarray(image)
    except ValueError:  # a pair of an image and a label, as data sets of torchvision have them
        kind = type(image).__name__
        raise DataError(f"{kind} is no image: give images, or pairs (id, image)") from None
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise DataError(
            f"image of shape {array.shape} and type {array.dtype}, expected uint8 (H, W, 3)"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
