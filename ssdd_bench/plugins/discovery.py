"""Discovery of what files and installed packages bring, without importing any of their code.

A package names, in an entry point group, a package of its own that holds one TOML file: a
tokenizer, a metric, a protocol or a data set. What is broken is set apart and harms no other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Generic, TypeVar

from ssdd_bench.errors import ManifestError, UserError

BUILT_IN: Final = "built-in"

Entry = TypeVar("Entry")


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
class Found(Generic[Entry]):
    """One usable entry.

    Attributes:
        id: the name that users type.
        source: ``built-in``, ``folder PATH`` or ``package NAME``.
        entry: what is known of it.
    """

    id: str
    source: str
    entry: Entry


@dataclass(frozen=True)
class Broken:
    """Something that was found and cannot be used.

    Attributes:
        name: the id that it would have, or the name of its folder or entry point.
        source: ``built-in``, ``folder PATH`` or ``package NAME``.
        error: what is wrong.
    """

    name: str
    source: str
    error: ManifestError


def attempt(
    name: str, source: str, load: Callable[[], Mapping[str, Entry]]
) -> Iterator[Found[Entry] | Broken]:
    """Load the entries of one file, by id; an error makes it one broken entry.

    Args:
        name: of the broken entry.
        source: where the file was found.
        load: reads the file.
    """
    try:
        entries = load()
    except UserError as error:
        yield Broken(name, source, ManifestError(str(error)))
    else:
        yield from (Found(entry_id, source, entry) for entry_id, entry in entries.items())


def find_packaged(
    group: str, file_name: str, load: Callable[[Packaged], Mapping[str, Entry]]
) -> Iterator[Found[Entry] | Broken]:
    """Load the entries of an entry point group, in the order of the entry points' names.

    Args:
        group: such as ``ssdd_bench.metrics``.
        file_name: of the TOML file that each of its packages holds.
        load: reads one file; returns its entries by id.
    """
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        source = f"package {point.dist.name}" if point.dist else "package of unknown name"

        def load_point(point: EntryPoint = point, source: str = source) -> Mapping[str, Entry]:
            file = _locate(point, file_name)
            return load(Packaged(point.name, point.value, source, file))

        yield from attempt(point.name, source, load_point)


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
