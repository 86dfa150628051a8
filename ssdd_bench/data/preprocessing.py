"""Centre crops of RGB images that papers report on.

Each returns uint8 (size, size, 3), and raises ``DataError`` for an image so elongated that it
would not fit into memory when it is resized.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from ssdd_bench.data.decode import check_size

Crop = Callable[[Image.Image, int], NDArray[np.uint8]]


def adm_center_crop(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop as ADM, DiT and most tokenizer papers do: halve by box, then bicubic, then centre.

    Halving with a box filter while the short side is at least twice ``size`` averages pixels
    that bicubic alone would weigh differently. An image smaller than ``size`` is enlarged.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Resampling.BOX)
    scale = size / min(image.size)
    resized = round(image.width * scale), round(image.height * scale)
    left, top = ((side - size) // 2 for side in resized)
    return _crop(image, resized, Resampling.BICUBIC, left, top, size)


def bilinear_center_crop(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop as torchvision's ``Resize`` and ``CenterCrop`` do on Pillow images: one bilinear step.

    The long side is truncated to whole pixels and the offset rounded half to even, as there.
    """
    long_side = int(size * max(image.size) / min(image.size))
    resized = (size, long_side) if image.width <= image.height else (long_side, size)
    left, top = (round((side - size) / 2) for side in resized)
    return _crop(image, resized, Resampling.BILINEAR, left, top, size)


CROPS: dict[str, Crop] = {"adm": adm_center_crop, "bilinear": bilinear_center_crop}
"""Crops by the name a protocol gives them."""


def _crop(
    image: Image.Image, resized: tuple[int, int], by: Resampling, left: int, top: int, size: int
) -> NDArray[np.uint8]:
    check_size(*resized, advice="crop it to a less elongated shape")
    image = image.resize(resized, by).crop((left, top, left + size, top + size))
    return np.asarray(image, dtype=np.uint8)
