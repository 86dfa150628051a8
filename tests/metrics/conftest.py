"""Images, scores of pairs and features on a random Inception network."""

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ssdd_bench.metrics.features import inception
from ssdd_bench.metrics.features.files import FeatureFile, FeatureSets
from ssdd_bench.metrics.features.inception import InceptionFeatures
from ssdd_bench.metrics.suite import MetricSuite


@pytest.fixture(scope="session")
def photo_like():
    def make(n=4, side=64, seed=0):
        """Smooth random images, uint8 (n, 3, side, side)."""
        rng = np.random.default_rng(seed)
        small = torch.from_numpy(rng.uniform(0, 255, (n, 3, 9, 9)))
        smooth = torch.nn.functional.interpolate(small, (side, side), mode="bicubic")
        return smooth.round().clamp(0, 255).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def noisy():
    def make(images, sigma, seed=0):
        noise = np.random.default_rng(seed).normal(0, sigma, images.shape)
        return (images.double() + torch.from_numpy(noise)).round().clamp(0, 255).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def score_pairs():
    def score(keys, reference, reconstruction, step=None, ids=None, **more):
        """Scores of pairs that come in batches."""
        ids = ids or [f"{n:04}" for n in range(len(reference))]
        with MetricSuite(keys, torch.device("cpu"), **more) as suite:
            for start in range(0, len(ids), step or len(ids)):
                cut = slice(start, start + (step or len(ids)))
                suite.add_pairs(ids[cut], reference[cut], reconstruction[cut])
            return suite.compute()

    return score


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
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


@pytest.fixture(scope="session")
def sides(photo_like, noisy):
    """Images and noisy ones, uint8 (24, 3, 64, 64)."""
    images = photo_like(24, side=64)
    return images, noisy(images, 25)


@pytest.fixture(scope="session")
def features(inception_weights, sides):
    """Features of both sides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "require", lambda name: inception_weights)
        extractor = InceptionFeatures(torch.device("cpu"))
        return [extractor(images) for images in sides]


@pytest.fixture(scope="session")
def pairs_of():
    def make(folder, reference, reconstruction, ids=None):
        files = []
        for name, rows in (("a", reference), ("b", reconstruction)):
            file = FeatureFile(folder / f"{name}.f32", rows.shape[1])
            file.append(rows.astype(np.float32))
            files.append(file)
        return FeatureSets(ids or [f"{i:04}" for i in range(len(reference))], *files, "test")

    return make


@pytest.fixture(scope="session")
def gaussians():
    """Two sets of vectors, for which other libraries' tests name scores."""
    a = np.random.RandomState(0).standard_normal((500, 32))
    b = np.random.RandomState(1).standard_normal((500, 32)) * 1.2 + 0.1
    return a, b
