"""Hashes of plain data and of arrays: equal hashes mean comparable numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def hash_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash arrays by name, with their types and shapes, in 64 hexadecimal digits.

    Args:
        arrays: contiguous, in C order.
    """
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def canonical_json(data: Any) -> str:
    """Write plain data in the one form that equal data share: sorted keys, no spaces, ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
