"""Centre crops that papers report on; each takes an RGB image and gives a square of uint8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from ssdd_bench.data.decode import check_pixels

Crop = Callable[[Image.Image, int], NDArray[np.uint8]]


def adm_center_crop(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop as ADM, DiT and most tokenizer papers do: halve by box, then bicubic, then centre.

    Halving with a box filter while the short side is at least twice ``size`` averages pixels
    that bicubic alone would weigh differently. An image smaller than ``size`` is enlarged.

    Args:
        image: RGB.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3).

    Raises:
        DataError: so elongated that the resized image would not fit into memory.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Resampling.BOX)
    scale = size / min(image.size)
    image = _resize(image, round(image.width * scale), round(image.height * scale), "BICUBIC")
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return _crop(image, left, top, size)


def bilinear_center_crop(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop as torchvision's ``Resize`` and ``CenterCrop`` do on Pillow images: one bilinear step.

    The long side is truncated to whole pixels and the offset rounded half to even, as there.

    Args:
        image: RGB.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3).

    Raises:
        DataError: so elongated that the resized image would not fit into memory.
    """
    long_side = int(size * max(image.size) / min(image.size))
    if image.width <= image.height:
        image = _resize(image, size, long_side, "BILINEAR")
    else:
        image = _resize(image, long_side, size, "BILINEAR")
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return _crop(image, left, top, size)


CROPS: dict[str, Crop] = {"adm": adm_center_crop, "bilinear": bilinear_center_crop}
"""Crops by the name a protocol gives them."""


def _resize(image: Image.Image, width: int, height: int, filter_name: str) -> Image.Image:
    check_pixels(width, height)
    return image.resize((width, height), Resampling[filter_name])


def _crop(image: Image.Image, left: int, top: int, size: int) -> NDArray[np.uint8]:
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)
