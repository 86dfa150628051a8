"""The command that is recorded in results."""

from __future__ import annotations

import sys


def typed() -> str:
    """Return the command as the user typed it."""
    return " ".join(["ssdd-bench", *sys.argv[1:]])
