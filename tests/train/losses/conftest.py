"""One network for the tests of losses, since its making takes most of their time."""

import pytest

from ssdd_bench.train.losses.perceptual import EffNetDistance


@pytest.fixture(scope="session")
def distance():
    return EffNetDistance()
