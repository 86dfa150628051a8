"""Preparation of images for the networks of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def resize(images: Tensor, side: int) -> Tensor:
    """Resize uint8 (B, 3, H, W) to (B, 3, side, side) by Pillow (bicubic, antialiased).

    The result is channels last in memory.
    """
    size = (side, side)
    pixels = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        for image in images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def split_on_cpu(size: int, *batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield parts of ``size`` images of batches on a CPU, and batches on a GPU as they are.

    The kernels of a CPU round differently for batches of different sizes; larger ones are no
    faster there.
    """
    if not batches[0].is_cpu:
        yield batches
        return
    yield from zip(*(batch.split(size) for batch in batches), strict=True)


def exact_convolutions() -> AbstractContextManager[None]:
    """Keep convolutions on a GPU from rounding to TF32."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
