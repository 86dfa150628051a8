"""Standing of a result: comparable with those that this installation would make, or the reason."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.protocols.schema import Superseded
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import NUMBERS_VERSION, Result


class Standing(StrEnum):
    """Comparability of a result with those of this installation."""

    CURRENT = "current"
    SUPERSEDED_PROTOCOL = "superseded-protocol"
    UNKNOWN_PROTOCOL = "unknown-protocol"
    OTHER_PROTOCOL = "other-protocol"
    OTHER_NUMBERS = "other-numbers"
    UNRECORDED_NUMBERS = "unrecorded-numbers"


MEANINGS: Final = {
    Standing.CURRENT: "comparable with results of this installation",
    Standing.SUPERSEDED_PROTOCOL: "its protocol is a former version of the one here",
    Standing.UNKNOWN_PROTOCOL: "its protocol is not installed here",
    Standing.OTHER_PROTOCOL: "its protocol has another hash than the one of this name here",
    Standing.OTHER_NUMBERS: f"its numbers_version is not {NUMBERS_VERSION}",
    Standing.UNRECORDED_NUMBERS: "it does not say its numbers_version",
}


def standing_of(result: Result) -> Standing:
    """Compare the protocol's hash and the version of the numbers with those of this package."""
    known = PROTOCOLS.all().get(str(result.protocol.get("id")))
    if known is None:
        return Standing.UNKNOWN_PROTOCOL
    if known.sha256 != result.protocol.get("sha256"):
        superseded = superseded_version(result)
        return Standing.SUPERSEDED_PROTOCOL if superseded else Standing.OTHER_PROTOCOL
    if result.numbers_version is None:
        return Standing.UNRECORDED_NUMBERS
    same = result.numbers_version == NUMBERS_VERSION
    return Standing.CURRENT if same else Standing.OTHER_NUMBERS


def superseded_version(result: Result) -> Superseded | None:
    """Return the former version of its protocol that a result is of; None if it is of no such."""
    known = PROTOCOLS.all().get(str(result.protocol.get("id")))
    former = known.superseded if known else ()
    return next((one for one in former if one.sha256 == result.protocol.get("sha256")), None)


def former_version(result: Result) -> str:
    """Say of which former version of its protocol a result is; "" if it is of no such."""
    former = superseded_version(result)
    name = result.protocol["id"]
    return f"former version {former.sha256[:8]} of {name}: {former.change}" if former else ""


def protocol_hash(recorded: dict[str, Any]) -> str:
    """Hash the settings of a protocol as a result file records them."""
    unhashed = ("description", "sha256")
    return fingerprint({key: value for key, value in recorded.items() if key not in unhashed})
