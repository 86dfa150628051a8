"""Metrics of Inception features against torch-fidelity and torchmetrics, on one random network."""

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features import inception as module
from ssdd_bench.metrics.features.files import FeatureFile, FeatureSets
from ssdd_bench.metrics.features.inception import InceptionFeatures

CPU = torch.device("cpu")
N = 24


def make(key):
    return find_metrics()[key].make()


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file with the layout of the published one, every tensor random."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *a, **k: None)
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *a, **k: None)
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="x")
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.ndim > 1:
            fan_in = value[0].numel()
            state[name] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
        elif value.is_floating_point():
            state[name] = 0.1 * torch.randn(value.shape, generator=generator) + (
                1.0 if name.endswith("bn.weight") else 0.0
            )
        else:
            state[name] = value
    torch.save(state, path)
    return path


@pytest.fixture
def given(weights, monkeypatch):
    monkeypatch.setattr(module, "require", lambda name: weights)


@pytest.fixture(scope="session")
def sides(photo_like, noisy):
    a = photo_like(N, side=64)
    return a, noisy(a, 25)


@pytest.fixture(scope="session")
def folders(sides, tmp_path_factory):
    found = []
    for name, images in zip(("reference", "reconstruction"), sides, strict=True):
        folder = tmp_path_factory.mktemp(name)
        for number, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:04}.png")
        found.append(str(folder))
    return found


@pytest.fixture(scope="session")
def features(weights, sides):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "require", lambda name: weights)
        extractor = InceptionFeatures(CPU)
        return [extractor(images) for images in sides]


def pairs_of(folder, reference, reconstruction, ids=None):
    files = []
    for name, rows in (("a", reference), ("b", reconstruction)):
        file = FeatureFile(folder / f"{name}.f32", rows.shape[1])
        file.append(rows.astype(np.float32))
        files.append(file)
    return FeatureSets(ids or [f"{i:04}" for i in range(len(reference))], *files, "test")


def test_features_are_those_of_torch_fidelity(weights, sides, features):
    network = FeatureExtractorInceptionV3(
        "x", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    with torch.no_grad():
        pool, logits = network(sides[0][:8])
    # Ours keeps channels last, where float32 kernels round otherwise.
    for layer, expected in (("pool", pool.numpy()), ("logits", logits.numpy())):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(features[0][layer][:8], expected, rtol=0, atol=2e-6 * scale)


def test_torchmetrics_resizes_otherwise_by_default(weights, sides, features):
    from torchmetrics.image.fid import NoTrainInceptionV3

    options = {"name": "x", "features_list": ["2048"], "feature_extractor_weights_path": weights}
    same = NoTrainInceptionV3(**options, antialias=False)(sides[0][:2])
    other = NoTrainInceptionV3(**options, antialias=True)(sides[0][:2])
    np.testing.assert_allclose(same.numpy(), features[0]["pool"][:2], rtol=0, atol=1e-5)
    assert np.abs(other.numpy() - features[0]["pool"][:2]).max() > 1e-4


def test_rfid_is_torch_fidelitys(given, weights, sides, folders, score_pairs, tmp_path):
    expected = torch_fidelity.calculate_metrics(
        input1=folders[1],
        input2=folders[0],
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(weights),
        batch_size=8,
    )["frechet_inception_distance"]
    found = score_pairs(["rfid"], *sides).values["rfid"]
    # torch-fidelity's root of a singular matrix costs it the sixth digit.
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert f"{N} images for 2048 features" in found.warning
    assert "50,000" in found.warning
    assert score_pairs(["rfid"], sides[0], sides[0]).values["rfid"].value == pytest.approx(
        0, abs=1e-9
    )


def test_other_scores_are_torch_fidelitys(features, tmp_path):
    pool = pairs_of(tmp_path, features[0]["pool"], features[1]["pool"])
    found = {key: make(key).compute(pool).value for key in ("precision", "recall")}
    expected = torch_fidelity.metric_prc.prc_features_to_metric(
        torch.from_numpy(features[1]["pool"]),
        torch.from_numpy(features[0]["pool"]),
        prc_neighborhood=3,
        save_cpu_ram=False,
        verbose=False,
    )
    assert found == pytest.approx({key: expected[key] for key in found})
    logits = pairs_of(tmp_path, features[0]["logits"], features[1]["logits"])
    score = torch_fidelity.metric_isc.isc_features_to_metric(
        torch.from_numpy(features[1]["logits"])
    )
    assert make("isc").compute(logits).value == score["inception_score_mean"]


def test_spatial_features_are_height_width_channel(given, sides):
    extractor = InceptionFeatures(CPU)
    kept = []
    extractor.network.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, o: kept.append(o))
    rows = extractor(sides[0][:1])["spatial"]
    image = kept[0][0, :7].numpy()
    assert image.shape == (7, 17, 17)
    np.testing.assert_array_equal(rows[0].reshape(17, 17, 7), image.transpose(1, 2, 0))
    assert not np.array_equal(rows[0], image.ravel())


def gaussians():
    a = np.random.RandomState(0).standard_normal((500, 32))
    b = np.random.RandomState(1).standard_normal((500, 32)) * 1.2 + 0.1
    return a, b


def test_named_precision_and_recall(tmp_path):
    a, b = gaussians()
    pairs = pairs_of(tmp_path, b, a)
    assert make("precision").compute(pairs).value == pytest.approx(0.974)
    assert make("recall").compute(pairs).value == pytest.approx(0.230)


def test_inception_score_is_shuffled(tmp_path):
    logits = np.random.RandomState(2).standard_normal((1000, 10)) * 2
    found = make("isc").compute(pairs_of(tmp_path, logits, logits)).value
    assert found == pytest.approx(2.5972315786941595, rel=1e-6)
    order = np.random.RandomState(3).permutation(1000)
    ids = [f"{i:04}" for i in order]
    other = pairs_of(tmp_path, logits[order], logits[order], ids)
    assert make("isc").compute(other).value == found
    sorted_by_class = np.repeat(np.eye(10) * 8, 100, axis=0)
    found = make("isc").compute(pairs_of(tmp_path, sorted_by_class, sorted_by_class)).value
    assert found == pytest.approx(9.389151491077893, rel=1e-6)  # 1.0 without the shuffle


def test_kid_keeps_an_image_from_its_own_reconstruction(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 32))
    found = make("kid").compute(pairs_of(tmp_path, x, x))
    other = make("kid").compute(pairs_of(tmp_path, x, x + 1))
    assert abs(found.value) < 0.01
    assert other.value > 0.1
    assert "subsets of 500" in found.warning
    paired = torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(x), kid_subset_size=1000, verbose=False
    )
    assert paired["kernel_inception_distance_mean"] < -abs(found.value)  # what pairs would do


def test_named_kid():
    """The library's own function gives the published value for these features."""
    a, b = gaussians()
    found = torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(a),
        torch.from_numpy(b),
        kid_subset_size=100,
        kid_subsets=10,
        rng_seed=2020,
        verbose=False,
    )
    assert found["kernel_inception_distance_mean"] == pytest.approx(0.0684904575112835)


@pytest.mark.parametrize("key", ["kid", "isc", "precision", "recall"])
def test_too_few_images(key, tmp_path):
    one = np.zeros((1, 8))
    value = make(key).compute(pairs_of(tmp_path, one, one))
    assert value.value is None
    assert "at least" in value.unavailable
