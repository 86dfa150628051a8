"""Scores in which runs must agree."""

from pathlib import Path

import pandas as pd

from ssdd_bench.results.store import load_results


def measured(out):
    """All numbers of the results in a folder, by tokenizer and resolution."""
    return {
        (one.tokenizer.label, one.resolution): (
            {key: (value.value, value.n) for key, value in one.metrics.items()},
            one.data,
            one.latent,
            one.fingerprint,
            pd.read_parquet(Path(out) / one.scores).to_dict("list"),
        )
        for one in load_results([out])
    }
