"""Metrics on their published weights, where those are on this machine."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.weights.assets import cached_path

METRICS = find_metrics("pairs")
EXTERNAL = [key for key, info in METRICS.items() if info.assets]
HOME_CACHE = os.environ.get("XDG_CACHE_HOME")  # before the tests move it


@pytest.fixture
def users_cache(monkeypatch):
    """Weights are looked for where the user keeps them."""
    if HOME_CACHE is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", HOME_CACHE)


@pytest.fixture(scope="module")
def photos():
    source = open_images(None, 12)
    return np.stack([CROPS["adm"](source.read(name), 256) for name in source.ids])


def jpeg(photos, quality):
    restored = []
    for pixels in photos:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        restored.append(np.array(Image.open(stream)))
    return np.stack(restored)


def tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@pytest.mark.weights
@pytest.mark.parametrize("key", EXTERNAL)
def test_identity_is_best_and_jpeg_is_ordered(key, users_cache, photos, score_pairs):
    missing = [name for name in METRICS[key].assets if cached_path(name) is None]
    if missing:
        pytest.skip(f"not on this machine: ssdd-bench weights fetch {' '.join(missing)}")
    sides = [photos, jpeg(photos, 75), jpeg(photos, 10)]
    values = [
        score_pairs([key], tensor(photos), tensor(side), strict=True).values[key].value
        for side in sides
    ]
    if METRICS[key].higher_is_better:
        values = [-value for value in values]
    if key in ("kid", "isc", "recall", "precision"):  # too few images for an order
        assert all(np.isfinite(values))
    else:
        assert values[0] == pytest.approx(0, abs=1e-4)
        assert values == sorted(values)
        assert values[2] > values[0]
