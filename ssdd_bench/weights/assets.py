"""The table of external weights. Imports no torch."""

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
    """One file.

    Attributes:
        file: its name, exactly as published.
        url: where it is published.
        bytes: its size; 0 where that is not known.
        sha256: its checksum; empty where its publisher gives none.
        licence: of the weights.
    """

    file: str
    url: str
    bytes: int
    sha256: str
    licence: str

    @property
    def size(self) -> str:
        """For messages."""
        return f"{self.bytes / 1e6:.0f} MB" if self.bytes else "size unknown"


@cache
def assets() -> Mapping[str, Asset]:
    """Every asset by name."""
    return read_record(dict[str, Asset], read_toml(TABLE), TABLE.name)


def get_asset(name: str) -> Asset:
    """Look up an asset; ``UnknownNameError`` names the nearest."""
    if name not in assets():
        raise UnknownNameError("weights", name, assets())
    return assets()[name]
