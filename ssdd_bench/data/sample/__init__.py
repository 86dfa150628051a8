"""The photographs that come with the package, so that a first run needs no download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssdd_bench.results.records import read_record, read_toml

SAMPLE_DIR = Path(__file__).parent


@dataclass(frozen=True)
class SampleSource:
    """Who made a photograph and what may be done with it; each one keeps its own licence.

    Attributes:
        title: Name of the work, as its source gives it.
        author: Who has to be credited.
        licence: SPDX id; ``LicenseRef-public-domain`` where no licence is needed.
        source: Package, version and file the photograph was taken from.
        changes: What was done to it since.
        sha256: Digest of the file shipped here.
        url: Page of the original, where its source names one.
    """

    title: str
    author: str
    licence: str
    source: str
    changes: str
    sha256: str
    url: str | None = None


def sample_sources() -> dict[str, SampleSource]:
    """Say where each photograph comes from, for credits and for checking the files.

    Returns:
        One entry per photograph, keyed by file name (``osprey.jpg``), sorted.
    """
    path = SAMPLE_DIR / "SOURCES.toml"
    sources = read_record(dict[str, SampleSource], read_toml(path), str(path), optional=True)
    return dict(sorted(sources.items()))
