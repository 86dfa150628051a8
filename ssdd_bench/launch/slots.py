"""Slots: places where workers run, one at a time, in this process or in others.

A slot loads one group at a time and answers one call at a time. Nothing blocks but :meth:`wait`,
which hands what has happened to the scheduler. Imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal

from ssdd_bench.launch.tasks import Group, Problem, Progress, R, Worker


@dataclass(frozen=True)
class Call:
    """A call of a method of a worker."""

    method: Literal["open", "work", "time", "finish"]
    job: int
    chunks: tuple[int, ...] = ()

    def perform(self, worker: Worker[R], progress: Progress) -> Any:
        """Call the method and return what it returns."""
        if self.method == "open":
            return worker.open(self.job)
        if self.method == "work":
            return worker.work(self.job, self.chunks, progress)
        if self.method == "time":
            return worker.time(self.job, progress)
        return worker.finish(self.job, progress)


@dataclass(frozen=True)
class ImagesDone:
    """So many more images are done."""

    count: int


@dataclass(frozen=True)
class ChunkDone:
    """A chunk is on disk."""

    chunk: int


@dataclass(frozen=True)
class Stage:
    """A stage that follows the images has begun."""

    name: str


@dataclass(frozen=True)
class Answer:
    """The group is loaded, or a call is done and returned this."""

    value: Any = None


@dataclass(frozen=True)
class Raised:
    """Loading or a call raised something."""

    problem: Problem


@dataclass(frozen=True)
class Died:
    """The worker is gone, without an answer."""

    how: str


Event = ImagesDone | ChunkDone | Stage | Answer | Raised | Died
Deliver = Callable[[int, Event], None]
"""Takes the number of a slot and what happened there; it may call any method but ``wait``."""


class Slots(ABC, Generic[R]):
    """Places where workers run, numbered from 0.

    Attributes:
        devices: that each works on.
    """

    devices: tuple[str, ...]

    def is_there(self, slot: int) -> bool:
        """Return False while a machine is sought for a slot: it cannot load anything then."""
        return True

    @abstractmethod
    def load(self, slot: int, group: Group[R], alone: bool = False) -> None:
        """Replace the worker of a slot by one of this group; :class:`Answer` says it is there.

        Args:
            slot: its number.
            group: to load.
            alone: True if no other slot works meanwhile: the worker may use all cores.
        """

    @abstractmethod
    def ask(self, slot: int, call: Call) -> None:
        """Call a method of the worker, which has loaded its group and answered all else."""

    @abstractmethod
    def wait(self, deliver: Deliver, seconds: float | None = None) -> None:
        """Deliver what happened, after waiting for something to happen, up to this time."""

    @abstractmethod
    def stop(self, slot: int) -> None:
        """End the worker of a slot at once, whatever it does; nothing more comes from it."""

    def close(self) -> None:
        """End all workers."""
        for slot in range(len(self.devices)):
            self.stop(slot)

    def __enter__(self) -> Slots[R]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Sender(Progress):
    """Turns the progress of a worker into events."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send

    def images_done(self, count: int) -> None:
        """Send it."""
        self._send(ImagesDone(count))

    def chunk_done(self, chunk: int) -> None:
        """Send it."""
        self._send(ChunkDone(chunk))

    def stage(self, name: str) -> None:
        """Send it."""
        self._send(Stage(name))


class InProcess(Slots[R]):
    """One slot in this process, for debugging and for Python.

    A crash of a plugin ends the process here, and nothing can end a hang.
    """

    def __init__(self, device: str) -> None:
        self.devices = (device,)
        self._worker: Worker[R] | None = None
        self._next: Callable[[Progress], Any] | None = None

    def load(self, slot: int, group: Group[R], alone: bool = False) -> None:
        """Replace the worker when :meth:`wait` is called."""
        self.stop(slot)  # before its successor needs the memory

        def load(progress: Progress) -> None:
            self._worker = group.load(self.devices[slot])

        self._next = load

    def ask(self, slot: int, call: Call) -> None:
        """Make the call when :meth:`wait` is called."""
        worker = self._worker
        if worker is None:
            raise RuntimeError("nothing is loaded")
        self._next = lambda progress: call.perform(worker, progress)

    def wait(self, deliver: Deliver, seconds: float | None = None) -> None:
        """Make the call that was asked for; what a plugin raises is its problem, exits too."""
        call, self._next = self._next, None
        if call is None:
            return
        event: Event
        try:
            event = Answer(call(Sender(lambda event: deliver(0, event))))
        except (Exception, SystemExit) as error:
            event = Raised(Problem.of(error))
        deliver(0, event)

    def stop(self, slot: int) -> None:
        """Close the worker and forget it."""
        worker, self._worker, self._next = self._worker, None, None
        if worker is not None:
            worker.close()
