"""Sets of features, as metrics of distributions take them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.metrics.features.files import FeatureSets, FeatureStore


def feature_sets(
    references: NDArray[Any],
    candidates: NDArray[Any],
    ids: Sequence[str] | None = None,
    **more: Any,
) -> FeatureSets:
    """Keep rows of features, by default of pairs; ``more`` are fields of ``FeatureSets``."""
    stores = []
    for rows in (references, candidates):
        store = FeatureStore(rows.shape[1], keep_rows=True)
        store.append(rows.astype(np.float32))
        stores.append(store)
    return FeatureSets(ids or [f"{i:04}" for i in range(len(candidates))], *stores, "test", **more)
