"""Hashes are of bytes that are written out here, so that no other program or year changes them."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from ssdd_bench.results.fingerprint import canonical_json, fingerprint, hash_arrays

DATA = {"b": "é\n", "a": [1, 2.5, None, True], "c": {"z": 1e-7, "y": ()}}
TEXT = r'{"a":[1,2.5,null,true],"b":"\u00e9\n","c":{"y":[],"z":1e-07}}'


def test_plain_data_has_one_form() -> None:
    assert canonical_json(DATA) == TEXT
    assert canonical_json(dict(reversed(DATA.items()))) == TEXT
    assert fingerprint(DATA) == sha256(TEXT.encode()).hexdigest()
    assert fingerprint([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


@pytest.mark.parametrize(
    ("data", "error"),
    [(Path("a"), TypeError), (float("nan"), ValueError), ([float("inf")], ValueError)],
)
def test_what_is_not_plain_has_no_hash(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        fingerprint({"x": data})


def test_arrays_by_name_with_types_and_shapes() -> None:
    arrays: Mapping[str, Any] = {
        "b": np.array([[1, 2, 3]], np.uint8),
        "a": np.array([0.5], np.float64),
        "none": np.zeros((0, 2), np.float32),
    }
    data = b"a <f8 (1,)\n" + np.float64(0.5).tobytes() + b"b |u1 (1, 3)\n\x01\x02\x03"
    expected = sha256(data + b"none <f4 (0, 2)\n").hexdigest()
    assert hash_arrays(arrays) == expected
    assert hash_arrays(MappingProxyType(dict(reversed(arrays.items())))) == expected
    assert hash_arrays({}) == sha256(b"").hexdigest()
