"""A copy of a repository's result files in a folder of its own, to be checked before any use."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.hub.limits import limit_of
from ssdd_bench.hub.remote import Snapshot


def stage(snapshot: Snapshot, folder: Path) -> dict[str, bytes]:
    """Copy the files of a snapshot; the cache has links, which no check follows.

    Args:
        snapshot: whose names are paths of the layout, so that none leads out of ``folder``.
        folder: to copy to.

    Returns:
        The content of each file by its path in the repository. A file that is too large is cut
        off, so that it fails its check.
    """
    contents = {}
    for name in snapshot.names:
        with (snapshot.folder / name).open("rb") as file:
            contents[name] = file.read(limit_of(name) + 1)
        put(folder, name, contents[name])
    return contents


def put(folder: Path, name: str, data: bytes) -> None:
    """Write a file at its path below a folder."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
