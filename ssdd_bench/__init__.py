"""A benchmark of image tokenizers, with an independent implementation of SSDD.

The names below are imported when they are first used: importing the package imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
    from ssdd_bench.evaluation.evaluate import evaluate
    from ssdd_bench.evaluation.listing import list_metrics, list_protocols, list_tokenizers
    from ssdd_bench.evaluation.pairs import evaluate_pairs
    from ssdd_bench.evaluation.result import Evaluation
    from ssdd_bench.evaluation.run import run
    from ssdd_bench.evaluation.samples import evaluate_samples
    from ssdd_bench.plugins.adapters.diffusers import from_diffusers
    from ssdd_bench.plugins.adapters.functions import from_functions
    from ssdd_bench.plugins.registry import load_tokenizer
    from ssdd_bench.report import plot

__version__ = "0.1.0"

# Public names and the modules that define them.
_MODULES = {
    "Evaluation": "evaluation.result",
    "Latent": "api",
    "LatentSpec": "api",
    "Noise": "api",
    "Tokenizer": "api",
    "evaluate": "evaluation.evaluate",
    "evaluate_pairs": "evaluation.pairs",
    "evaluate_samples": "evaluation.samples",
    "from_diffusers": "plugins.adapters.diffusers",
    "from_functions": "plugins.adapters.functions",
    "list_metrics": "evaluation.listing",
    "list_protocols": "evaluation.listing",
    "list_tokenizers": "evaluation.listing",
    "load_tokenizer": "plugins.registry",
    "plot": "report.plot",
    "run": "evaluation.run",
}

__all__ = [
    "Evaluation",
    "Latent",
    "LatentSpec",
    "Noise",
    "Tokenizer",
    "evaluate",
    "evaluate_pairs",
    "evaluate_samples",
    "from_diffusers",
    "from_functions",
    "list_metrics",
    "list_protocols",
    "list_tokenizers",
    "load_results",
    "load_tokenizer",
    "plot",
    "run",
]


def load_results(*paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Lay out result files, and folders of them, as a data frame with one row per result.

    Args:
        paths: such as ``"results/"``, or lists of them.

    Returns:
        The columns that :func:`ssdd_bench.report.frame.to_frame` describes.

    Raises:
        UserError: one is no path, or is missing, a folder holds no result, or a file is damaged.
    """
    from ssdd_bench.arguments import texts
    from ssdd_bench.report.loading import load_source

    return load_source([path for one in paths for path in texts("paths", one)]).frame


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ssdd_bench' has no attribute '{name}'")
    module = import_module(f"ssdd_bench.{_MODULES[name]}")
    return module if name == "plot" else getattr(module, name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
