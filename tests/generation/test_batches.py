"""Class labels of samples."""

import numpy as np
import pytest

from ssdd_bench.generation.batches import make_labels


def test_labels_are_balanced_or_random_and_fixed():
    equal = make_labels(25, 10, "equal", seed=0)
    assert sorted(np.bincount(equal)) == [2] * 5 + [3] * 5
    assert np.array_equal(equal, make_labels(25, 10, "equal", seed=1))
    assert not np.array_equal(equal, np.sort(equal))
    random = make_labels(4000, 10, "random", seed=0)
    assert np.bincount(random).std() == pytest.approx(20, abs=15)
    assert np.array_equal(random[:7], make_labels(7, 10, "random", seed=0))
    assert not np.array_equal(random, make_labels(4000, 10, "random", seed=1))
