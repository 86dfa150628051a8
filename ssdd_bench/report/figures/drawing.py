"""A finished figure: its files, and the parts of it that a page can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssdd_bench.results.files import write_bytes

SUFFIXES: Final = (".png", ".svg", ".pdf")
Place = tuple[float, float, float, float]
"""Left, top, width and height in points."""


@dataclass(frozen=True)
class Drawing:
    """The files of a figure, and the parts of its SVG that a page can change.

    Attributes:
        name: stem of its files.
        title: heading on the page.
        metric: that it shows, where a report has such a figure for each.
        caption: images, protocol, machine, and how to read it.
        alt: what it shows, for those who do not see it.
        parts: family and hover text, by the id of an SVG element.
        panels: place of each, by the id of an SVG element.
        files: bytes by suffix.
        inline: the SVG as part of a page; "" without one.
    """

    name: str
    title: str
    metric: str
    caption: str
    alt: str
    parts: Mapping[str, tuple[str, str]]
    panels: Mapping[str, Place]
    files: Mapping[str, bytes]
    inline: str

    @property
    def key(self) -> str:
        """Prefix of the ids in its SVG."""
        return figure_key(self.name, self.metric)

    def save(self, path: Path) -> Path:
        """Write the file of the path's suffix.

        Raises:
            OutputError: the file cannot be written.
        """
        return write_bytes(path, self.files[path.suffix])


def figure_key(name: str, metric: str) -> str:
    """Name a figure, and the metric that it shows where there is one for each."""
    return f"{name}-{metric}" if metric else name
