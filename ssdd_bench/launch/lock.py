"""Locks of a folder: who writes into it, and who reads clocks. The death of a holder frees them."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from ssdd_bench.errors import OutputError
from ssdd_bench.results.files import LOCK_PREFIX

_PAUSE: Final = 1.0  # seconds until a look whether others are still at work


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


@contextmanager
def clocks_in_turn(folder: Path, name: str) -> Iterator[Callable[[], None]]:
    """Let processes on this machine that share a folder read clocks while no other is at work.

    Args:
        folder: that all of them write to.
        name: of this process, another one for each.

    Yields:
        A function that waits until no other process is at work or reads clocks. After it this
        process may read clocks, to the end of the block; others that begin wait for that.
    """
    machine = platform.node()
    clocks = FileLock(folder / f"{LOCK_PREFIX}clocks-{machine}.lock")
    prefix = f"{LOCK_PREFIX}work-{machine}-"
    work = FileLock(folder / f"{prefix}{name}.lock")

    def wait() -> None:
        work.release()
        while True:
            clocks.acquire()
            if not any(map(_is_held, folder.glob(f"{prefix}*.lock"))):
                return
            clocks.release()  # others may begin
            time.sleep(_PAUSE)

    with clocks:
        work.acquire()
    try:
        yield wait
    finally:
        work.release()
        clocks.release()


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
