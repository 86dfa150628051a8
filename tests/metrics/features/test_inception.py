"""Inception features against torch-fidelity and torchmetrics, on one random network."""

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ssdd_bench.metrics.features import inception as module
from ssdd_bench.metrics.features.inception import InceptionFeatures

CPU = torch.device("cpu")


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


def test_spatial_features_are_height_width_channel(given, sides):
    extractor = InceptionFeatures(CPU)
    kept = []
    extractor.network.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, o: kept.append(o))
    rows = extractor(sides[0][:1])["spatial"]
    image = kept[0][0, :7].numpy()
    assert image.shape == (7, 17, 17)
    np.testing.assert_array_equal(rows[0].reshape(17, 17, 7), image.transpose(1, 2, 0))
    assert not np.array_equal(rows[0], image.ravel())


@pytest.fixture(scope="session")
def folders(sides, tmp_path_factory):
    found = []
    for name, images in zip(("reference", "reconstruction"), sides, strict=True):
        folder = tmp_path_factory.mktemp(name)
        for number, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:04}.png")
        found.append(str(folder))
    return found


@pytest.mark.slow  # torch-fidelity's root of a matrix
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
