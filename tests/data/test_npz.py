"""Statistics of a reference in an npz file."""

import numpy as np
import pytest

from ssdd_bench.data.npz import read_moments
from ssdd_bench.errors import DataError


def test_moments(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, mu=np.zeros(3, np.float32), sigma=np.eye(3, dtype=np.float32))
    found = read_moments(path)
    assert set(found) == {"mu", "sigma"}
    assert found["sigma"].dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "token"),
    [
        ({"mu": np.zeros(3)}, "sigma"),
        ({"sigma_s": np.eye(3)}, "mu_s"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"\(4, 4\)"),
        ({"mu": np.zeros(3), "sigma": np.zeros(3)}, r"\(3,\)"),
    ],
)
def test_moments_that_do_not_fit_are_refused(tmp_path, arrays, token):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=token):
        read_moments(path)
