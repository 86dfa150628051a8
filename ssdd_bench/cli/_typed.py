"""The command line, for records."""

from __future__ import annotations

import sys


def typed() -> str:
    """What the user typed."""
    return " ".join(["ssdd-bench", *sys.argv[1:]])
