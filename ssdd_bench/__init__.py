"""A benchmark of image tokenizers, with an independent implementation of SSDD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.1.0"


def load_results(*paths: str | Path) -> pd.DataFrame:
    """Lay out result files, and folders of them, as a data frame with one row per measured cell.

    Args:
        paths: such as ``"results/"``.

    Returns:
        See :func:`ssdd_bench.report.frame.to_frame`.

    Raises:
        UserError: a path is missing, a folder holds no result, or a file is damaged.
    """
    from ssdd_bench.report.frame import load_frame

    return load_frame(paths)


def __getattr__(name: str) -> Any:
    """Import ``ssdd_bench.plot`` when it is first used."""
    if name == "plot":
        import importlib

        return importlib.import_module("ssdd_bench.report.plot")
    raise AttributeError(f"module 'ssdd_bench' has no attribute '{name}'")
