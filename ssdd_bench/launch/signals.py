"""SIGTERM, by which clusters and containers end a program, as an interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM: like Ctrl-C, but for the exit code."""


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Raise :class:`Terminated` on SIGTERM, so that workers end and what is on disk stays whole.

    Python takes signals in its main thread only; elsewhere SIGTERM ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
