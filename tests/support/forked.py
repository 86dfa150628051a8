"""Calls in a child process with limits, which tell how they end and never take the tests along."""

import atexit
import os
import resource
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Literal

import torch  # noqa: F401 - its libraries alone would exceed a child's memory

from ssdd_bench.errors import UserError, printable

MEMORY = 2 << 30
"""Bytes that calls may take beyond those of the process."""
SECONDS = 20.0


@dataclass(frozen=True)
class Ending:
    """The way a call ends, and its message."""

    kind: Literal["returned", "refused", "error", "died", "hung"]
    text: str = ""

    @property
    def is_good(self) -> bool:
        """Return True if it returned, or was refused in one line that a terminal can show."""
        if self.kind == "refused":
            return bool(self.text) and "\n" not in self.text and printable(self.text) == self.text
        return self.kind == "returned"


class Child:
    """A copy of this process, which calls functions that exist already."""

    def __init__(self, functions: dict[int, Callable[..., object]]) -> None:
        self.functions = functions
        self.connection, other = Pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                self._serve(other)
            finally:
                os._exit(0)
        other.close()

    def _serve(self, connection: Connection) -> None:
        self.connection.close()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        while True:
            number, arguments = connection.recv()
            try:
                self.functions[number](*arguments)
                ending = Ending("returned")
            except UserError as error:
                ending = Ending("refused", str(error))
            except BaseException:
                ending = Ending("error", traceback.format_exc()[-3000:])
            connection.send(ending)

    def call(self, number: int, arguments: tuple[Any, ...]) -> Ending:
        """Return how a call ends."""
        try:
            self.connection.send((number, arguments))
            if not self.connection.poll(SECONDS):
                return Ending("hung")
            ending: Ending = self.connection.recv()
        except (EOFError, ConnectionError):
            return Ending("died")
        return ending

    def end(self) -> None:
        """End the process."""
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        self.connection.close()


_children: list[Child] = []


def attempt(function: Callable[..., object], *arguments: Any) -> Ending:
    """Call a function in a child process, which later calls share until one ends badly."""
    number = id(function)
    known = _children[-1].functions if _children else {}
    if number not in known:
        _end()
        _children.append(Child({**known, number: function}))
    ending = _children[-1].call(number, arguments)
    if ending.kind in ("died", "hung"):
        _end()
    return ending


@atexit.register
def _end() -> None:
    while _children:
        _children.pop().end()
