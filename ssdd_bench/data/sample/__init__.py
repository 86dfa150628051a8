"""The photographs that come with the package, so that a first run needs no download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssdd_bench.results.records import read_record, read_toml

SAMPLE_DIR = Path(__file__).parent


@dataclass(frozen=True)
class SampleSource:
    """Credits and licence of a photograph.

    Attributes:
        title: of the work, as its source gives it.
        author: to be credited.
        licence: SPDX id; ``LicenseRef-public-domain`` where no licence is needed.
        source: package, version and file that the photograph was taken from.
        changes: since then.
        sha256: of the file here.
        url: page of the original, where its source names one.
    """

    title: str
    author: str
    licence: str
    source: str
    changes: str
    sha256: str
    url: str | None = None


def sample_sources() -> dict[str, SampleSource]:
    """Return the source of each photograph by file name (``osprey.jpg``), sorted."""
    path = SAMPLE_DIR / "SOURCES.toml"
    sources = read_record(dict[str, SampleSource], read_toml(path), str(path), optional=True)
    return dict(sorted(sources.items()))
