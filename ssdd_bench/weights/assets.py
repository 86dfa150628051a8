"""External weights that metrics and training need: their table, and files on this machine.

Uses no network and imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from ssdd_bench.errors import UnavailableError, UnknownNameError, WeightsError
from ssdd_bench.results.records import ADDED, read_record, read_toml
from ssdd_bench.weights.files import sha256_file

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
        training: the setting of recipes that needs it; "" for files of metrics alone.
    """

    file: str
    url: str
    bytes: int
    sha256: str
    licence: str
    training: Annotated[str, ADDED] = ""

    @property
    def size(self) -> str:
        """Format the size for messages."""
        return f"{self.bytes / 1e6:.0f} MB" if self.bytes else "size unknown"


@cache
def assets() -> Mapping[str, Asset]:
    """Return every asset by name."""
    return read_record(dict[str, Asset], read_toml(TABLE), TABLE.name)


def get_asset(name: str) -> Asset:
    """Look up an asset."""
    if name not in assets():
        raise UnknownNameError("weights", name, assets())
    return assets()[name]


def cache_folder() -> Path:
    """Return our cache: ``$XDG_CACHE_HOME/ssdd-bench``, by default in ``~/.cache``."""
    return _user_cache() / "ssdd-bench"


def cache_is_on() -> bool:
    """Return True unless ``$SSDD_BENCH_NO_CACHE`` turns off what is kept to save time."""
    return os.environ.get("SSDD_BENCH_NO_CACHE", "") in ("", "0")


def search_folders() -> tuple[Path, ...]:
    """Return the folders in which weights are looked for, in order.

    They are ``$SSDD_BENCH_WEIGHTS``, our cache, and the folders of torch.hub, which torchvision,
    lpips and torch-fidelity download to. ``./models``, to which dreamsim downloads, is left out:
    its files would depend on the folder that a program was started in.
    """
    chosen, torch_home = (os.environ.get(name) for name in ("SSDD_BENCH_WEIGHTS", "TORCH_HOME"))
    hubs = [torch_home, _user_cache() / "torch", Path.home() / ".cache" / "torch"]
    folders = [chosen, cache_folder() / "weights"]
    folders += [Path(hub, "hub", "checkpoints") for hub in hubs if hub]
    return tuple(dict.fromkeys(Path(folder).expanduser() for folder in folders if folder))


def cached_path(name: str) -> Path | None:
    """Return the first file of an asset in :func:`search_folders`, not verified; None if absent."""
    file = get_asset(name).file
    return next((folder / file for folder in search_folders() if (folder / file).is_file()), None)


def inspect(name: str) -> tuple[Path, str]:
    """Return the path and the expected sha256 of an asset; compare its size, but do not hash it.

    Errors as of :func:`require`.
    """
    asset, path = get_asset(name), cached_path(name)
    if path is None:
        raise UnavailableError(f"{asset.file} ({asset.size}) is not here. {how_to_get(name)}")
    # Without a published checksum the user confirms one, in the format of sha256sum.
    record = path.with_name(f"{path.name}.sha256")
    recorded = record.read_text(encoding="utf-8").lower().split() if record.is_file() else []
    expected = asset.sha256 or next(iter(recorded), "")
    if not expected:
        raise UnavailableError(f"{path} has no recorded checksum. {how_to_get(name)}")
    size = path.stat().st_size
    if asset.bytes and size != asset.bytes:
        raise WeightsError(
            f"{path} has {size} bytes, expected {asset.bytes}. Delete it. {how_to_get(name)}"
        )
    return path, expected


def require(name: str) -> Path:
    """Return the path of a verified file. Unpickle no other.

    Raises:
        UnavailableError: it is not on this machine, or its checksum is not known.
        WeightsError: it is not the published file.
    """
    path, expected = inspect(name)
    status = path.stat()
    found = _hash(path, status.st_size, status.st_mtime_ns)
    if found != expected:
        raise WeightsError(
            f"{path} has sha256 {found[:12]}, expected {expected[:12]}. Delete it. "
            f"{how_to_get(name)}"
        )
    return path


def how_to_get(name: str) -> str:
    """Say in one sentence how to get an asset, for messages."""
    asset = get_asset(name)
    if asset.sha256:
        return f"Run: ssdd-bench weights fetch {name}"
    folder = cache_folder() / "weights"
    with suppress(ValueError):  # The home of a user does not belong into published results.
        folder = "~" / folder.relative_to(Path.home())
    return (
        f"No checksum of it is published: download {asset.url} to {folder}, "
        f"check it, and confirm it there by: sha256sum {asset.file} > {asset.file}.sha256"
    )


def _user_cache() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen else Path.home() / ".cache"


@cache
def _hash(path: Path, size: int, modified: int) -> str:
    """Hash a file once per size and time of its last change."""
    return sha256_file(path)
