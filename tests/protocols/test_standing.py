"""Comparability of results: by the protocol's hash and the version of the numbers."""

import dataclasses
from pathlib import Path

import pytest

from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.protocols.standing import (
    MEANINGS,
    Standing,
    former_version,
    protocol_hash,
    standing_of,
)
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import NUMBERS_VERSION, Result
from ssdd_bench.results.store import from_json

MINI = Path(__file__).parents[2] / "results" / "mini"
FORMER = PROTOCOLS.get("default-v1").superseded[0]


@pytest.fixture(scope="module")
def result() -> Result:
    """A result of the present protocol and numbers."""
    path = min(MINI.glob("*.json"))
    return dataclasses.replace(from_json(read_json(path), path), numbers_version=NUMBERS_VERSION)


@pytest.mark.parametrize(
    ("changes", "protocol", "standing"),
    [
        ({}, {}, Standing.CURRENT),
        ({"numbers_version": None}, {}, Standing.UNRECORDED_NUMBERS),
        ({"numbers_version": NUMBERS_VERSION - 1}, {}, Standing.OTHER_NUMBERS),
        ({"numbers_version": NUMBERS_VERSION + 1}, {}, Standing.OTHER_NUMBERS),
        ({}, {"sha256": "0" * 64}, Standing.OTHER_PROTOCOL),
        ({"numbers_version": None}, {"sha256": "0" * 64}, Standing.OTHER_PROTOCOL),
        ({}, {"id": "my-lab-v1"}, Standing.UNKNOWN_PROTOCOL),
        ({}, {"sha256": FORMER.sha256}, Standing.SUPERSEDED_PROTOCOL),
        ({"numbers_version": None}, {"sha256": FORMER.sha256}, Standing.SUPERSEDED_PROTOCOL),
        ({}, {"sha256": FORMER.sha256, "id": "ldm-v1"}, Standing.OTHER_PROTOCOL),
        ({}, {"sha256": FORMER.sha256, "id": "my-lab-v1"}, Standing.UNKNOWN_PROTOCOL),
    ],
)
def test_standing(result: Result, changes: dict, protocol: dict, standing: Standing) -> None:
    one = dataclasses.replace(result, protocol=result.protocol | protocol, **changes)
    assert standing_of(one) is standing
    said = former_version(one)
    assert bool(said) == (standing is Standing.SUPERSEDED_PROTOCOL)
    assert not said or FORMER.change in said


def test_every_standing_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(Standing)


@pytest.mark.parametrize("protocol", PROTOCOLS.all().values(), ids=PROTOCOLS.all())
def test_the_hash_of_a_record_is_that_of_the_protocol(protocol) -> None:
    assert protocol_hash(protocol.record()) == protocol.sha256
    assert protocol_hash(protocol.record() | {"tf32": not protocol.tf32}) != protocol.sha256
