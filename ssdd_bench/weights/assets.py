"""Table of the external weights that metrics and training need. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ssdd_bench.errors import UnknownNameError
from ssdd_bench.results.records import read_record, read_toml

TABLE = Path(__file__).with_name("assets.toml")


@dataclass(frozen=True)
class Asset:
    """One external file.

    Attributes:
        file: its name, as published.
        url: where it is published.
        bytes: its size; 0 if unknown.
        sha256: its checksum; "" if none is known, in which case it is never fetched.
        licence: licence of the weights.
    """

    file: str
    url: str
    bytes: int
    sha256: str
    licence: str

    @property
    def size(self) -> str:
        """Format the size for messages."""
        return f"{self.bytes / 1e6:.0f} MB" if self.bytes else "size unknown"


@cache
def assets() -> Mapping[str, Asset]:
    """Read the table: every asset by name."""
    return read_record(dict[str, Asset], read_toml(TABLE), TABLE.name)


def get_asset(name: str) -> Asset:
    """Look up an asset.

    Raises:
        UnknownNameError: there is none of that name; the message has the nearest.
    """
    if name not in assets():
        raise UnknownNameError("weights", name, assets())
    return assets()[name]
