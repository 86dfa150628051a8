"""Where external weights lie on this machine, and whether they are what was published.

Nothing here touches the network.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

from ssdd_bench.errors import UnavailableError, WeightsError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.records import read_json
from ssdd_bench.weights.assets import get_asset
from ssdd_bench.weights.files import sha256_file


def cache_folder() -> Path:
    """Ours: ``$XDG_CACHE_HOME/ssdd-bench``, by default under ``~/.cache``."""
    return _caches() / "ssdd-bench"


def _caches() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen else Path.home() / ".cache"


def folders() -> tuple[Path, ...]:
    """Where files are looked for, in this order.

    ``$SSDD_BENCH_WEIGHTS``, our cache, then the folders of torch.hub, which torchvision, lpips and
    torch-fidelity download to. The ``./models`` of dreamsim is not among them: what lies there
    depends on where a program was started.
    """
    chosen = os.environ.get("SSDD_BENCH_WEIGHTS")
    home = os.environ.get("TORCH_HOME")
    hubs = (
        *([Path(home).expanduser()] if home else []),
        _caches() / "torch",
        Path.home() / ".cache" / "torch",
    )
    found = [
        *([Path(chosen).expanduser()] if chosen else []),
        cache_folder() / "weights",
        *(hub / "hub" / "checkpoints" for hub in hubs),
    ]
    return tuple(dict.fromkeys(found))


def find(name: str) -> Path | None:
    """The first file of that name in :func:`folders`, not verified."""
    file = get_asset(name).file
    return next((folder / file for folder in folders() if (folder / file).is_file()), None)


def existing(name: str) -> Path:
    """As :func:`find`; ``UnavailableError`` says how to get what is not on this machine."""
    path = find(name)
    if path is None:
        asset = get_asset(name)
        raise UnavailableError(
            f"{asset.file} ({asset.size}) is not on this machine: ssdd-bench weights fetch {name}"
        )
    return path


def require(name: str) -> Path:
    """A file whose checksum is right; do not unpickle any other.

    Raises:
        UnavailableError: it is not on this machine; says how to get it.
        WeightsError: it is not what was published, or not what was here before.
    """
    path = existing(name)
    verify(name, path)
    return path


def verify(name: str, path: Path) -> str:
    """Compare a file with the table, or with the first one seen; returns its sha256.

    Raises:
        WeightsError: it differs.
    """
    if reason := mismatch(name, path):
        raise WeightsError(
            f"{path} is not the published {get_asset(name).file}, it {reason}: delete it, then "
            f"ssdd-bench weights fetch {name}"
        )
    found = _hash(path)
    if not get_asset(name).sha256 and name not in _recorded():
        _record(name, found)
    return found


def mismatch(name: str, path: Path) -> str:
    """In what a file differs from the published one or the first one seen; empty if in nothing."""
    asset = get_asset(name)
    size = path.stat().st_size
    if asset.bytes and size != asset.bytes:
        return f"has {size} bytes, not {asset.bytes}"
    found = _hash(path)
    expected = asset.sha256 or _recorded().get(name, found)
    if found == expected:
        return ""
    seen = "" if asset.sha256 else f" as the first one here ({_record_path()})"
    return f"has sha256 {found[:12]}, not {expected[:12]}{seen}"


def _hash(path: Path) -> str:
    status = path.stat()
    return _remembered_hash(path, status.st_size, status.st_mtime_ns)


@cache
def _remembered_hash(path: Path, size: int, modified: int) -> str:
    return sha256_file(path)


def _record_path() -> Path:
    return cache_folder() / "first-seen.json"


def _recorded() -> dict[str, str]:
    path = _record_path()
    return dict(read_json(path)) if path.exists() else {}


def _record(name: str, sha256: str) -> None:
    path = _record_path()
    text = json.dumps(_recorded() | {name: sha256}, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
