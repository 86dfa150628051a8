"""Images, scores of pairs and features on a random Inception network."""

import numpy as np
import pytest
import torch

from ssdd_bench.metrics.features import inception
from ssdd_bench.metrics.features.inception import InceptionFeatures
from ssdd_bench.metrics.suite import MetricSuite


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
def gaussians():
    """Two sets of vectors, for which other libraries' tests name scores."""
    a = np.random.RandomState(0).standard_normal((500, 32))
    b = np.random.RandomState(1).standard_normal((500, 32)) * 1.2 + 0.1
    return a, b
