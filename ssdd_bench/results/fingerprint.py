"""Hashes of plain data: equal hashes mean comparable numbers."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(data: Any) -> str:
    """Hash plain data independently of key order, platform and Python version.

    Args:
        data: dicts with text keys, lists or tuples, strings, finite numbers, booleans and None.

    Returns:
        SHA-256 of the canonical JSON, 64 lower-case hexadecimal digits.

    Raises:
        TypeError: something else is in it, such as a path, whose text would differ by machine.
        ValueError: a number is NaN or infinite.
    """
    return hashlib.sha256(canonical_json(data).encode("ascii")).hexdigest()


def canonical_json(data: Any) -> str:
    """Write plain data in the one form that equal data share: sorted keys, no spaces, ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
