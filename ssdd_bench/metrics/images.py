"""Preparation of images for the networks of metrics."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssdd_bench.api.memory import OOMSplitter

MOST_RESIZERS = 8
"""Threads that resize images at most; otherwise as many as torch may use."""

T = TypeVar("T")


def resize(images: Tensor, side: int) -> Tensor:
    """Resize uint8 (B, 3, H, W) to (B, 3, side, side) by Pillow (bicubic, antialiased).

    The result is channels last in memory.
    """

    def one(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))

    arrays = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    threads = min(MOST_RESIZERS, torch.get_num_threads(), len(arrays))
    with ThreadPoolExecutor(threads, thread_name_prefix="resize") as pool:
        pixels = list(pool.map(one, arrays))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


class Parts:
    """Call a network on parts of batches.

    On a CPU they have a fixed size: its kernels round differently for batches of different sizes,
    and larger ones are no faster there. A GPU is given whole batches, and halves of them from the
    first time that memory runs out.

    Args:
        size: images of a part on a CPU.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._splitter: OOMSplitter | None = None

    def call(self, function: Callable[..., T], *batches: Tensor) -> list[T]:
        """Call ``function`` on the parts of all batches, in order.

        Raises:
            UserError: not even one image fits into the memory of a GPU.
        """
        if batches[0].is_cpu:
            parts = zip(*(batch.split(self._size) for batch in batches), strict=True)
            return [function(*part) for part in parts]
        count = len(batches[0])
        self._splitter = splitter = self._splitter or OOMSplitter(count, batches[0].device)
        found: list[T] = []
        start = 0
        while start < count:
            stop = min(count, start + splitter.size)
            part = [batch[start:stop] for batch in batches]
            result = splitter.attempt(partial(function, *part), stop - start)
            if result is not None:
                found.append(result)
                start = stop
        return found
