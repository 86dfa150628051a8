"""Comparability of results: by the protocol's hash and the version of the numbers."""

import dataclasses

import pytest

from ssdd_bench.hub.standing import MEANINGS, Standing, protocol_hash, standing_of
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.schema import NUMBERS_VERSION, Result


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
    ],
)
def test_standing(results: list[Result], changes: dict, protocol: dict, standing: Standing) -> None:
    recorded = results[0].protocol | protocol
    result = dataclasses.replace(results[0], protocol=recorded, **changes)
    assert standing_of(result) is standing


def test_every_standing_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(Standing)


@pytest.mark.parametrize("protocol", PROTOCOLS.all().values(), ids=PROTOCOLS.all())
def test_the_hash_of_a_record_is_that_of_the_protocol(protocol) -> None:
    assert protocol_hash(protocol.record()) == protocol.sha256
    assert protocol_hash(protocol.record() | {"tf32": not protocol.tf32}) != protocol.sha256
