"""Sizes of the files of a repository of results: larger ones are neither downloaded nor read."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 1 << 20
"""Largest result file or card."""
MAX_SCORES_BYTES: Final = 64 << 20
"""Largest file of scores of single images."""


def limit_of(name: str) -> int:
    """Return the largest size in bytes of a file, by its path."""
    return MAX_SCORES_BYTES if name.endswith(".parquet") else MAX_BYTES
