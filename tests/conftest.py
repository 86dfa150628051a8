"""Fixtures that several folders of tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def make_photos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, tuple[int, int]], Path]:
    """Write ``n`` smooth random pictures of (width, height) into a new folder, from 0.png on."""

    def make(n: int, size: tuple[int, int]) -> Path:
        folder = tmp_path_factory.mktemp("photos")
        rng = np.random.default_rng(0)
        for index in range(n):
            small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            small.resize(size, Image.Resampling.BICUBIC).save(folder / f"{index}.png")
        return folder

    return make
