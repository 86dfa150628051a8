"""Inception features against torch-fidelity and torchmetrics, on one random network."""

import hashlib

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ssdd_bench.metrics.features import inception as module
from ssdd_bench.metrics.features.inception import InceptionFeatures

CPU = torch.device("cpu")
META = torch.device("meta")


@pytest.fixture
def given(inception_weights, monkeypatch):
    monkeypatch.setattr(module, "require", lambda name: inception_weights)


@pytest.mark.slow
def test_features_are_those_of_torch_fidelity(inception_weights, sides, features):
    network = FeatureExtractorInceptionV3(
        "x", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(inception_weights)
    )
    with torch.no_grad():
        pool, logits = network(sides[0][:8])
    # Ours keeps channels last, where float32 kernels round otherwise.
    for layer, expected in (("pool", pool.numpy()), ("logits", logits.numpy())):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(features[0][layer][:8], expected, rtol=0, atol=2e-6 * scale)


@pytest.mark.slow
def test_torchmetrics_resizes_otherwise_by_default(inception_weights, sides, features):
    from torchmetrics.image.fid import NoTrainInceptionV3

    options = {
        "name": "x",
        "features_list": ["2048"],
        "feature_extractor_weights_path": inception_weights,
    }
    same = NoTrainInceptionV3(**options, antialias=False)(sides[0][:2])
    other = NoTrainInceptionV3(**options, antialias=True)(sides[0][:2])
    np.testing.assert_allclose(same.numpy(), features[0]["pool"][:2], rtol=0, atol=1e-5)
    assert np.abs(other.numpy() - features[0]["pool"][:2]).max() > 1e-4


@pytest.mark.slow
def test_spatial_features_are_height_width_channel(given, sides):
    extractor = InceptionFeatures(CPU)
    kept = []
    extractor.network.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, o: kept.append(o))
    rows = extractor(sides[0][:1])["spatial"]
    assert rows.shape == (1, InceptionFeatures.layers["spatial"])
    image = kept[0][0, :7].numpy()
    assert image.shape == (7, 17, 17)
    np.testing.assert_array_equal(rows[0].reshape(17, 17, 7), image.transpose(1, 2, 0))
    assert not np.array_equal(rows[0], image.ravel())


class Light(torch.nn.Module):
    """The layer that sFID takes, the channels' means and largest values."""

    def __init__(self):
        super().__init__()
        self.Mixed_6d = torch.nn.Module()
        self.Mixed_6d.branch1x1 = torch.nn.Conv2d(3, 9, 3, stride=2)
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        x = images.double()
        self.Mixed_6d.branch1x1(images.float())
        return x.mean(dim=(2, 3)), x.amax(dim=(2, 3))


@pytest.fixture
def light(monkeypatch, tmp_path):
    """Calls that make a light network, and the file of weights."""
    path, calls = tmp_path / "weights.pth", []
    path.write_bytes(b"weights")
    monkeypatch.setattr(module, "require", lambda name: calls.append(name) or path)
    monkeypatch.setattr(
        torch_fidelity.feature_extractor_inceptionv3,
        "FeatureExtractorInceptionV3",
        lambda *a, **k: calls.append((a, k)) or Light(),
    )
    return calls, path


def test_the_network_is_made_from_the_verified_file(light):
    calls, path = light
    made = InceptionFeatures(META)
    names = "inception-v3-compat", ["2048", "logits_unbiased"]
    assert calls == ["inception", (names, {"feature_extractor_weights_path": str(path)})]
    assert made.device == META
    weight = made.network.Mixed_6d.branch1x1.weight
    assert weight.device == META
    assert weight.is_contiguous(memory_format=torch.channels_last)
    checksum = hashlib.sha256(b"weights").hexdigest()[:8]
    assert made.backend == (
        f"torch-fidelity {torch_fidelity.__version__} InceptionV3 (sha256 {checksum})"
    )


def test_features_come_by_layer_four_images_at_a_time(light, photo_like):
    images = photo_like(9, side=11)
    made = InceptionFeatures(CPU)
    found = made(images)
    assert made.network.sizes == [4, 4, 1]
    assert list(found) == ["pool", "logits", "spatial"]
    assert {rows.dtype for rows in found.values()} == {np.dtype(np.float32)}
    pixels = images.double().numpy()
    np.testing.assert_allclose(found["pool"], pixels.mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(found["logits"], pixels.max(axis=(2, 3)))
    with torch.inference_mode():
        maps = made.network.Mixed_6d.branch1x1(images.float())[:, :7]
    rows = maps.numpy().transpose(0, 2, 3, 1).reshape(9, 5 * 5 * 7)
    np.testing.assert_allclose(found["spatial"], rows, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="session")
def folders(sides, tmp_path_factory):
    found = []
    for name, images in zip(("reference", "reconstruction"), sides, strict=True):
        folder = tmp_path_factory.mktemp(name)
        for number, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:04}.png")
        found.append(str(folder))
    return found


@pytest.mark.nightly  # torch-fidelity's root of a matrix
def test_rfid_is_torch_fidelitys(given, inception_weights, sides, folders, score_pairs, tmp_path):
    expected = torch_fidelity.calculate_metrics(
        input1=folders[1],
        input2=folders[0],
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(inception_weights),
        batch_size=8,
    )["frechet_inception_distance"]
    found = score_pairs(["rfid"], *sides).values["rfid"]
    # torch-fidelity's root of a singular matrix costs it the sixth digit.
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert "24 images for 2048 features" in found.warning
    assert "50,000" in found.warning
    assert score_pairs(["rfid"], sides[0], sides[0]).values["rfid"].value == pytest.approx(
        0, abs=1e-9
    )
