"""The registry of whatever has an id: tokenizers, metrics, protocols and data sets.

An entry is described by a TOML file of ours, or of an installed package which an entry point
names. Looking imports neither torch nor any package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Generic, TypeVar

from ssdd_bench.errors import ManifestError, UnknownNameError, UserError

BUILT_IN: Final = "built-in"
VARIABLE: Final = "SSDD_BENCH_TOKENIZERS"

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Place:
    """A TOML file that describes entries."""

    name: str  # of the entry point; of a built-in file, the id of its entry
    source: str  # ``built-in``, ``folder PATH`` or ``package NAME``, the distribution's name
    file: Path
    package: str  # dotted name of the package that holds the file


@dataclass(frozen=True)
class Broken:
    """An entry, or a place to look for entries, that was found and cannot be used."""

    name: str  # the id that it would have, or the name of its folder or entry point
    source: str
    error: ManifestError
    is_place: bool = False  # any entry may be there, of whatever id


class Registry(Generic[Entry]):
    """Entries of one kind by id, found once per process, with the broken ones apart.

    One rule settles equal ids: a built-in entry keeps its id and a third party's is broken; of two
    third parties' entries both are broken, since neither may be measured under an id that does not
    say which one it is.

    Args:
        kind: of the entries, for messages, such as ``tokenizer``.
        group: entry point group of packages that bring more.
        file_name: of the TOML file in the package that an entry point names.
        built_in: yields the files that are not in packages, in the order of listing.
        load: reads one file; returns its entries by id.
        by_id: list entries by id, not in the order in which they are found.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        file_name: str,
        built_in: Callable[[], Iterable[Place | Broken]],
        load: Callable[[Place], Mapping[str, Entry]],
        by_id: bool = False,
    ) -> None:
        self.group, self.file_name = group, file_name
        self._kind, self._built_in, self._load, self._by_id = kind, built_in, load, by_id
        self._seen: object = None
        self._found: dict[str, Entry] = {}
        self._broken: tuple[Broken, ...] = ()

    def all(self) -> Mapping[str, Entry]:
        """Return every usable entry by id."""
        self._look()
        return self._found

    def broken(self) -> tuple[Broken, ...]:
        """Return what was found and cannot be used."""
        self._look()
        return self._broken

    def get(self, entry_id: str) -> Entry:
        """Look up one entry.

        Raises:
            UnknownNameError: there is none of this id; names the nearest, and the places in which
                nothing can be found.
            ManifestError: it is a broken one; says what is wrong with it.
        """
        found = self.all()
        if entry_id in found:
            return found[entry_id]
        for broken in self._broken:
            if broken.name == entry_id:
                raise broken.error
        faults = [broken.error for broken in self._broken if broken.is_place]
        raise UnknownNameError(self._kind, entry_id, found, faults)

    def clear(self) -> None:
        """Forget what was found, so that files written since are seen."""
        self._seen = None

    def _look(self) -> None:
        """Discover again only if the places to look in have changed."""
        places = (os.environ.get(VARIABLE), tuple(sys.path))
        if self._seen == places:
            return
        broken: list[Broken] = []
        by_id: dict[str, list[tuple[str, Entry]]] = {}
        for place in (*self._built_in(), *_find_packaged(self.group, self.file_name)):
            if isinstance(place, Broken):
                broken.append(place)
                continue
            try:
                for entry_id, entry in self._load(place).items():
                    by_id.setdefault(entry_id, []).append((place.source, entry))
            except UserError as error:
                broken.append(Broken(place.name, place.source, ManifestError(str(error))))
        self._found = {}
        for entry_id in sorted(by_id) if self._by_id else by_id:
            several = by_id[entry_id]
            sources = [source for source, _ in several]
            clash = ManifestError(
                f"{len(several)} {self._kind}s have the id '{entry_id}' ({' and '.join(sources)}): "
                "rename or remove all but one"
            )
            if len(several) == 1 or BUILT_IN in sources:
                winner = sources.index(BUILT_IN) if BUILT_IN in sources else 0
                _, self._found[entry_id] = several.pop(winner)
            broken += [Broken(entry_id, source, clash) for source, _ in several]
        self._broken, self._seen = tuple(broken), places


def _find_packaged(group: str, file_name: str) -> Iterator[Place | Broken]:
    """Find the files of installed packages, in the order of their entry points' names."""
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        source = f"package {point.dist.name}" if point.dist else "package of unknown name"
        if file := _locate(point, file_name):
            yield Place(point.name, source, file, point.value)
        else:
            error = ManifestError(
                f"entry point '{point.name}' names '{point.value}', where there is no {file_name}: "
                "reinstall the package, or report it to its author"
            )
            yield Broken(point.name, source, error)


def _locate(point: EntryPoint, file_name: str) -> Path | None:
    """Find a package's file without running its code, nor that of the packages around it."""
    top, *rest = point.value.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    roots = (spec and spec.submodule_search_locations) or ()
    files = (Path(root, *rest, file_name) for root in roots)
    return next(filter(Path.is_file, files), None)
