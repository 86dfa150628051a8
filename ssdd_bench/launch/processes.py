"""Slots whose workers are processes: what a plugin does to its process costs its own jobs only.

A worker is forked from a server that has imported torch already, which takes some 30 ms; where a
system cannot fork, it is a new Python. It leads a session of its own, so that an interrupt reaches
the launcher alone, and ends with everything it started. It ends too when the launcher dies.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Final

from ssdd_bench.errors import UserError
from ssdd_bench.launch.slots import (
    Answer,
    Call,
    Deliver,
    Died,
    Event,
    ImagesDone,
    Raised,
    Sender,
    Slots,
)
from ssdd_bench.launch.tasks import Group, Problem, R

METHOD: Final = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
EVERY: Final = 0.05
"""Seconds between two messages about images: one for each image would cost more than it says."""
PATIENCE: Final = 10.0
"""Seconds for a killed process to be gone; it frees its memory on a GPU until then."""


CORES: Final = "SSDD_BENCH_CORES"
"""Variable with the number of cores of a worker."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_cores() -> int:
    """Return the number of cores for this process: a worker has its share of them."""
    return min(cores(), int(os.environ.get(CORES, cores())))


def start_server(preload: Sequence[str] = ("torch",)) -> None:
    """Start the server of workers, which imports modules while this process does other things.

    A server that is there already is kept as it is.

    Raises:
        UserError: the server is that of another process, of which this one is a fork.
    """
    if METHOD == "forkserver":
        multiprocessing.get_context(METHOD).set_forkserver_preload(list(preload))
        with _expecting_leaks():
            resource_tracker.ensure_running()  # which lets interrupts through again
        try:
            with _interrupts_wait():
                forkserver.ensure_running()
        except ChildProcessError as error:
            raise UserError(
                "this process is a fork of one that has worker processes, which it cannot use: "
                "start it with the method 'spawn' of multiprocessing, or leave jobs out"
            ) from error


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Block interrupts, which a process that is started meanwhile never gets.

    The server would show a traceback if one came while it imports; the launcher gets it a moment
    later.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _expecting_leaks() -> Iterator[None]:
    """Let the tracker of semaphores, if it starts now, remove those of workers silently.

    Workers are killed, and bars of tqdm, which compilation shows too, hold a semaphore each.
    """
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        yield
    finally:
        sys.warnoptions.pop()


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    pipe: Connection


class Processes(Slots[R]):
    """Slots whose workers are processes of this machine.

    Args:
        devices: one for each slot.
        threads: of torch in each worker, and in one that is alone.
        cores: of each worker, and of one that is alone.
        preload: modules that workers share, see :func:`start_server`.
    """

    def __init__(
        self,
        devices: Sequence[str],
        threads: tuple[int, int] | None = None,
        cores: tuple[int, int] | None = None,
        preload: Sequence[str] = ("torch",),
    ) -> None:
        self.devices = tuple(devices)
        self._threads, self._cores = threads, cores
        self._children: dict[int, _Child] = {}
        start_server(preload)

    def load(self, slot: int, group: Group[R], alone: bool = False) -> None:
        """Start a process and send it the group."""
        self.stop(slot)
        context = multiprocessing.get_context(METHOD)
        pipe, theirs = context.Pipe()
        threads = self._threads[alone] if self._threads else None
        environment = dict(os.environ)
        if self._cores:
            environment[CORES] = str(self._cores[alone])
        arguments = (theirs, self.devices[slot], threads, environment)
        make: Any = getattr(context, "Process")  # noqa: B009
        process: BaseProcess = make(target=_serve, args=arguments, name=f"slot {slot}")
        with without_main():
            process.start()
        theirs.close()
        self._children[slot] = _Child(process, pipe)
        self._send(slot, pickle.dumps(group))

    def ask(self, slot: int, call: Call) -> None:
        """Send the call."""
        self._send(slot, call)

    def _send(self, slot: int, message: Any) -> None:
        with suppress(OSError):  # the worker has died, as the next wait will find out
            self._children[slot].pipe.send(message)

    def wait(self, deliver: Deliver, seconds: float | None = None) -> None:
        """Deliver what workers send, and the deaths of workers."""
        children = dict(self._children)
        handles = [one for child in children.values() for one in _handles(child)]
        ready = connection.wait(handles, seconds)
        for slot, child in children.items():
            if any(one in ready for one in _handles(child)):
                self._read(slot, child, deliver)

    def _read(self, slot: int, child: _Child, deliver: Deliver) -> None:
        """Deliver everything that a worker has sent before it died, and its death."""
        died = not child.process.is_alive()
        while self._children.get(slot) is child:
            try:
                if not child.pipe.poll():
                    break
                event: Event = child.pipe.recv()
            except (EOFError, OSError):
                died = True
                break
            except Exception as error:  # a value that cannot be unpickled here
                event = Raised(Problem.of(error))
            deliver(slot, event)
        if died and self._children.get(slot) is child:
            child.process.join(1)
            how = describe_exit(child.process.exitcode)
            self.stop(slot)
            deliver(slot, Died(how))

    def stop(self, slot: int) -> None:
        """Kill the process and what it has started."""
        child = self._children.pop(slot, None)
        if child is None:
            return
        if child.process.pid is not None and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # it leads no group yet, or is gone
                os.killpg(child.process.pid, signal.SIGKILL)
        child.process.kill()
        child.process.join(PATIENCE)
        child.pipe.close()
        with suppress(ValueError):  # it is still not gone
            child.process.close()


def _handles(child: _Child) -> list[Connection | int]:
    return [child.pipe, child.process.sentinel]


def describe_exit(code: int | None) -> str:
    """Say how a process ended.

    Examples:
        >>> describe_exit(-11)
        'was killed by SIGSEGV'
    """
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the program's main module: workers do not run it, so that it needs no guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _SlowSender(Sender):
    """Counts images and sends them a few times a second."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(pipe.send)
        self._count, self._sent = 0, 0.0

    def images_done(self, count: int) -> None:
        """Send the count if the last message is some time ago."""
        self._count += count
        if time.monotonic() - self._sent >= EVERY:
            self.flush()

    def chunk_done(self, chunk: int) -> None:
        """Send the images first."""
        self.flush()
        super().chunk_done(chunk)

    def stage(self, name: str) -> None:
        """Send the images first."""
        self.flush()
        super().stage(name)

    def flush(self) -> None:
        """Send the images that are counted and not sent."""
        if self._count:
            self._send(ImagesDone(self._count))
        self._count, self._sent = 0, time.monotonic()


def _serve(pipe: Connection, device: str, threads: int | None, environment: dict[str, str]) -> None:
    """Load a group and answer calls until the launcher closes the pipe or dies."""
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(2, 1)  # standard output is for the launcher's document
    os.environ.clear()
    os.environ.update(environment)
    progress = _SlowSender(pipe)
    worker: Any = None
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)  # waits for no thread of a plugin
        answer: Event
        try:
            if isinstance(message, Call):
                answer = Answer(message.perform(worker, progress))
            else:
                if threads:
                    import torch

                    torch.set_num_threads(threads)
                worker = pickle.loads(message).load(device)
                answer = Answer()
        except BaseException as error:
            answer = Raised(Problem.of(error))
        try:
            data = pickle.dumps(answer)
        except Exception as error:
            data = pickle.dumps(Raised(Problem.of(error)))
        try:
            progress.flush()
            pipe.send_bytes(data)
        except OSError:  # the launcher is gone, or a plugin has closed the pipe
            os._exit(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        if hasattr(os, "killpg"):
            os.killpg(os.getpid(), signal.SIGKILL)  # with what a plugin has started
        os.kill(os.getpid(), signal.SIGKILL)
