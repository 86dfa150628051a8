"""Find what installed packages bring: a small TOML file each, named by an entry point.

Tokenizers, metrics, protocols and data sets of strangers are found this way. Looking imports none
of their code, and what is broken is set apart, where it harms no other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ssdd_bench.errors import ManifestError


@dataclass(frozen=True)
class Packaged:
    """A file that an installed package brings.

    Attributes:
        name: of the entry point.
        package: dotted name of the package that holds the file.
        source: ``package NAME``, the distribution's name.
        file: the TOML file.
    """

    name: str
    package: str
    source: str
    file: Path


@dataclass(frozen=True)
class Broken:
    """Something that was found and cannot be used; it harms no other.

    Attributes:
        name: its folder, its id, or the name of its entry point.
        source: where it was found: ``built-in``, ``folder PATH`` or ``package NAME``.
        error: what is wrong.
    """

    name: str
    source: str
    error: ManifestError


def find_packaged(group: str, file_name: str) -> Iterator[Packaged | Broken]:
    """The packages of an entry point group, by the entry points' names.

    Args:
        group: such as ``ssdd_bench.metrics``.
        file_name: of the TOML file that each of its packages holds.
    """
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        source = f"package {point.dist.name}" if point.dist else "package of unknown name"
        try:
            file = _locate(point, file_name)
        except ManifestError as error:
            yield Broken(point.name, source, error)
        else:
            yield Packaged(point.name, point.value, source, file)


def _locate(point: EntryPoint, file_name: str) -> Path:
    """Find a package's folder without running its code, nor that of the packages around it."""
    top, *rest = point.value.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    for root in (spec and spec.submodule_search_locations) or ():
        file = Path(root, *rest, file_name)
        if file.is_file():
            return file
    raise ManifestError(
        f"entry point '{point.name}' names '{point.value}', where there is no {file_name}: "
        "reinstall the package, or report it to its author"
    )
