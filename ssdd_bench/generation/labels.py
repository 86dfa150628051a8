"""Class labels of samples: a pure function of the sample's number and the seed."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LabelRule = Literal["equal", "random"]
SHUFFLE = 2020  # seed of the order of balanced labels, which is the same for every seed


def make_labels(n: int, classes: int, rule: LabelRule, seed: int) -> NDArray[np.int64]:
    """Choose the labels of samples 0 to ``n - 1``.

    Args:
        n: number of samples.
        classes: labels lie below it.
        rule: ``equal``: as many of each class, the first classes get the rest, in one shuffled
            order; ``random``: each uniform, by a hash of the seed and the sample's number.
        seed: of ``random``.
    """
    if rule == "equal":
        return np.random.default_rng(SHUFFLE).permutation(np.arange(n) % classes)
    hashes = (hashlib.blake2b(f"{seed}\nlabel\n{i}".encode(), digest_size=8) for i in range(n))
    return np.array([int.from_bytes(one.digest(), "big") % classes for one in hashes], np.int64)
