import numpy as np
import pytest
import torch

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
