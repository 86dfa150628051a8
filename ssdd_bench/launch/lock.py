"""Lock of a folder: one launch at a time writes into it. The death of the holder frees it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ssdd_bench.errors import OutputError
from ssdd_bench.results.files import LOCK_PREFIX


@contextmanager
def locked(folder: Path, name: str = "run") -> Iterator[None]:
    """Hold the lock of a folder; ``<name>.lock`` there says who holds it.

    The system's lock stands on a hidden file beside it, and ends with the process. So what an
    interrupted launch has left behind is no obstacle.

    Args:
        folder: that is written to.
        name: of the lock. Shares of one run have a lock each.

    Raises:
        OutputError: another process holds it; says which.
    """
    note = folder / f"{name}.lock"
    lock = FileLock(folder / f"{LOCK_PREFIX}{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            holder = note.read_text(encoding="utf-8").strip()
        except OSError:  # it has just begun, or just ended
            holder = "another launch"
        raise OutputError(
            f"{folder} is in use by {holder}. Wait, or choose another --out"
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot lock {folder}: {error.strerror or error}; choose another --out"
        ) from error
    try:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        text = f"process {os.getpid()} on {platform.node()} since {now}: {command}\n"
        try:
            note.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot write {note}: {error.strerror or error}; choose another --out"
            ) from error
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()
