"""Data sets by name: where they are looked for, and a check that they are complete.

A data set is a TOML file: those of ``sets/``, and ``dataset.toml`` of an installed package in the
entry point group ``ssdd_bench.datasets``. Nothing is downloaded. Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssdd_bench.errors import DataError, UserError
from ssdd_bench.plugins.discovery import BUILT_IN, Place, Registry
from ssdd_bench.plugins.manifest import ID
from ssdd_bench.results.records import read_record, read_toml

VARIABLE: Final = "SSDD_BENCH_DATA"
SETS: Final = Path(__file__).with_name("sets")
DEFAULT: Final = "sample"

MOST_NAMES: Final = 1_000_000
"""Names that a pattern may stand for."""

_BRACES: Final = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True)
class DataSet:
    """Description of a data set, known without its images.

    Attributes:
        name: on the command line and in results.
        title: with edition and split.
        images: number of images.
        get: where its owner publishes it, and in which form it goes into its folder.
        licence: of the images, and whether it has to be agreed to first.
        protocol: id of the one that its users expect.
        file: this TOML file.
        source: ``built-in`` or ``package NAME``.
        names: pattern of all file names, as ``kodim{01..24}.png``; empty if there is none.
        names_sha256: see :func:`hash_names`; empty if it is not known.
        folder: of a set that comes with its file, relative to that; empty: it is looked for.
    """

    name: str
    title: str
    images: int
    get: str
    licence: str
    protocol: str
    file: str
    source: str
    names: str = ""
    names_sha256: str = ""
    folder: str = ""

    def places(self) -> tuple[Path, ...]:
        """Return the folders in which the images are looked for, in this order."""
        if self.folder:
            return (Path(self.file).parent / self.folder,)
        return tuple(root / self.name for root in roots())

    def find(self) -> Path | None:
        """Return the first folder of :meth:`places` that exists; None if there is none."""
        return next((place.resolve() for place in self.places() if place.is_dir()), None)

    def require(self) -> Path:
        """Return the folder of the images; ``DataError`` if it is not on this machine."""
        folder = self.find()
        if folder is not None:
            return folder
        own = Path(self.name)
        hint = f" such as {own.resolve()}" if own.exists() else ""
        raise DataError(
            f"data set '{self.name}' ({self.images:,} images) is not on this machine: {self.get}; "
            f"licence: {self.licence}; put or link it at {' or '.join(map(str, self.places()))}, "
            f"or give a full path{hint} with --data"
        )

    def wrong_count(self, count: int) -> str:
        """Describe how a number of images differs from the expected one; "" if it does not."""
        right = count == self.images
        return "" if right else f"the number of images is {count:,}, not {self.images:,}"

    def difference(self, names: Sequence[str]) -> str:
        """Describe how a list of file names differs from the expected one; "" if it does not."""
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            return some_of(twice, "in several folders")
        if self.names:
            expected, found = set(expand_names(self.names)), set(names)
            missing, strange = sorted(expected - found), sorted(found - expected)
            parts = [some_of(missing, "missing"), some_of(strange, "not of it")]
            if any(parts):
                return ", ".join(filter(None, parts))
        if wrong := self.wrong_count(len(names)):
            return wrong
        if self.names_sha256 and hash_names(names) != self.names_sha256:
            digest = hash_names(names)[:12]
            return f"sha256 of its file names is {digest}, not {self.names_sha256[:12]}"
        return ""


def roots() -> tuple[Path, ...]:
    """Return the folders of data sets: ``$SSDD_BENCH_DATA``, then ours among the user's data.

    The latter is ``$XDG_DATA_HOME/ssdd-bench``, by default under ``~/.local/share``.
    """
    chosen, home = os.environ.get(VARIABLE), os.environ.get("XDG_DATA_HOME")
    user = Path(home) if home else Path.home() / ".local" / "share"
    return (*([Path(chosen).expanduser()] if chosen else []), user / "ssdd-bench")


def require_named(path: Path | str | None) -> None:
    """Raise ``DataError`` for a data set that is named and not here; let any path pass."""
    if data_set := DATA_SETS.all().get(str(path)):
        data_set.require()


def hash_names(names: Sequence[str]) -> str:
    r"""Compute the SHA-256 of the sorted file names without folders, a line each.

    In a shell: ``find FOLDER -type f -printf '%f\n' | LC_ALL=C sort | sha256sum``
    """
    lines = "".join(f"{name}\n" for name in sorted(names))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def expand_names(pattern: str) -> list[str]:
    """Write out the braces of a pattern, as a shell does.

    ``a{08..10}.png`` has numbers as wide as the first, ``{train,val}`` alternatives. Several braces
    give all combinations, the last changing fastest. A name without braces is one.

    Raises:
        DataError: a range has no number, or there are more than :data:`MOST_NAMES`.
    """
    names = [""]
    rest = pattern
    while match := _BRACES.search(rest):
        first, last, listed = match.groups()
        if first is None:
            middles = listed.split(",")
        else:
            count = int(last) - int(first) + 1
            if count < 1:
                raise DataError(f"{pattern}: {match[0]} is empty: give the smaller number first")
            _check_count(pattern, len(names) * count)
            middles = [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
        _check_count(pattern, len(names) * len(middles))
        before = rest[: match.start()]
        names = [name + before + middle for name in names for middle in middles]
        rest = rest[match.end() :]
    return [name + rest for name in names]


def _check_count(pattern: str, count: int) -> None:
    if count > MOST_NAMES:
        raise DataError(f"{pattern[:200]} stands for {count:,} names: give at most {MOST_NAMES:,}")


def some_of(names: Sequence[str], what: str) -> str:
    """Say how many names are ``what``, with the first of them; "" if there are none."""
    more = ", ..." if len(names) > 1 else ""
    return f"{len(names):,} {what} ({names[0]}{more})" if names else ""


def _find_ours() -> Iterator[Place]:
    for file in SETS.glob("*.toml"):
        yield Place(file.stem, BUILT_IN, file, "")


def _load(place: Place) -> dict[str, DataSet]:
    if not ID.fullmatch(place.name):
        raise UserError(f"{place.file}: '{place.name}' is no name such as my-photos")
    source = str(place.file)
    fixed = {"name": place.name, "file": source, "source": place.source}
    table = read_toml(place.file)
    return {place.name: read_record(DataSet, table, source, optional=True, fixed=fixed)}


DATA_SETS: Final = Registry(
    "data set", "ssdd_bench.datasets", "dataset.toml", _find_ours, _load, by_id=True
)
