"""Fixtures that several folders of tests share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a command that runs in this process sets, such as --offline, ends with its test."""
    with mock.patch.dict(os.environ):
        yield


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
