"""Groups whose jobs count, or break in the way that their names say."""

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from ssdd_bench.errors import DataError, UserError
from ssdd_bench.launch.scheduler import Task, Watcher
from ssdd_bench.launch.tasks import Group, Opened, Problem, Progress, Worker
from ssdd_bench.results.files import write_text

LOCKS: list[object] = []
SIZE = 3
"""Images of a chunk."""


def segfault() -> None:
    ctypes.string_at(0)


def hang() -> None:
    time.sleep(600)


def start_program(folder: Path) -> None:
    process = subprocess.Popen(["sleep", "600"])
    (folder / "program").write_text(str(process.pid))
    hang()


def once(folder: Path, break_it: Callable[[], None]) -> None:
    """Break at the first time only."""
    if not (folder / "broken").exists():
        (folder / "broken").touch()
        break_it()


def fail(error: BaseException) -> None:
    raise error


class Unpicklable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("of a plugin")
        self.lock = Lock()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[[Path], None]] = {
    "raise": lambda folder: fail(Unpicklable(1, 2)),
    "user error": lambda folder: fail(UserError("choose another")),
    "sys.exit": lambda folder: sys.exit(0),
    "interrupt": lambda folder: fail(KeyboardInterrupt()),
    "os._exit": lambda folder: os._exit(0),
    "segfault": lambda folder: segfault(),
    "kill": lambda folder: kill(),
    "hang": lambda folder: hang(),
    "program": start_program,
    "segfault once": lambda folder: once(folder, segfault),
    "kill once": lambda folder: once(folder, kill),
    "bad images": lambda folder: fail(DataError("bad images")),
    "close files": lambda folder: os.closerange(3, 256),
    "lock": lambda folder: LOCKS.append(multiprocessing.RLock()),
    "no stdout": lambda folder: print("noise"),  # noqa: T201
}


class Dummy(Group[str]):
    """Jobs by name, each with its number of chunks, or with a method and what happens there.

    ``{"a": 4, "b": "work segfault"}``: the second has three chunks and dies in the last.
    """

    def __init__(
        self, name: str, jobs: dict[str, int | str], folder: Path, clock: bool = False
    ) -> None:
        self.name, self.jobs = name, tuple(jobs)
        self.kinds, self.folder, self.clock = tuple(jobs.values()), folder, clock
        self.made_by = os.getpid()

    def load(self, device: str) -> Worker[str]:
        self.log("load", device, os.environ.get("DUMMY"))
        self.break_at("load")
        return Counting(self, device)

    def log(self, *what: object) -> None:
        """Note what happens, in which process and when."""
        with (self.folder / "log").open("a") as file:
            file.write(json.dumps([self.name, os.getpid(), time.monotonic(), *what]) + "\n")

    def break_at(self, method: str, job: int | None = None) -> None:
        """Do what the kinds of jobs say about a method; loading concerns all jobs."""
        for kind in self.kinds if job is None else [self.kinds[job]]:
            wanted, _, fault = str(kind).partition(" ")
            if wanted == method:
                FAULTS[fault](self.folder)


class Counting(Worker[str]):
    def __init__(self, group: Dummy, device: str) -> None:
        self.group, self.device = group, device

    def path(self, job: int, name: object) -> Path:
        return self.group.folder / f"{self.group.name}-{self.group.jobs[job]}-{name}"

    def chunks(self, job: int) -> int:
        kind = self.group.kinds[job]
        return kind if isinstance(kind, int) else 3

    def open(self, job: int) -> Opened[str]:
        self.group.log("open", job)
        self.group.break_at("open", job)
        if self.path(job, "result").exists():
            return Opened(result=self.path(job, "result").read_text())
        count = self.chunks(job)
        missing = tuple(chunk for chunk in range(count) if not self.path(job, chunk).exists())
        untimed = self.group.clock and not self.path(job, "clock").exists()
        return Opened((SIZE,) * count, missing, untimed)

    def take(self, seconds: float) -> None:
        """Take time where others work meanwhile."""
        if os.getpid() != self.group.made_by:
            time.sleep(seconds)

    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        for chunk in chunks:
            if chunk == self.chunks(job) - 1:
                self.group.break_at("work", job)
            self.take(0.01)
            progress.images_done(SIZE)
            if chunk == self.chunks(job) - 1:
                self.group.break_at("save", job)
            self.group.log("chunk", job, chunk)
            write_text(self.path(job, chunk), f"{job}.{chunk}", durable=False)  # whole or not
            progress.chunk_done(chunk)

    def time(self, job: int, progress: Progress) -> None:
        progress.stage("speed")
        self.group.break_at("time", job)
        started = time.monotonic()
        self.take(0.02)
        self.group.log("clock", job, started)
        self.path(job, "clock").touch()

    def finish(self, job: int, progress: Progress) -> str:
        self.group.break_at("finish", job)
        found = [self.path(job, chunk).read_text() for chunk in range(self.chunks(job))]
        if self.group.clock:
            found.append("timed" if self.path(job, "clock").exists() else "untimed")
        self.path(job, "result").write_text(" ".join(found))
        return " ".join(found)


class Seen(Watcher[str]):
    """Record of the events that a scheduler reports."""

    def __init__(self, groups: Sequence[Dummy]) -> None:
        self.groups = groups
        self.results: dict[str, str] = {}
        self.failures: dict[str, Problem] = {}
        self.images: dict[str, int] = {}
        self.stages: list[str] = []

    def name(self, task: Task) -> str:
        return f"{self.groups[task[0]].name}/{self.groups[task[0]].jobs[task[1]]}"

    def started(self, task: Task, opened: Opened[str]) -> None:
        self.images[self.name(task)] = 0

    def images_done(self, task: Task, count: int) -> None:
        self.images[self.name(task)] += count

    def stage(self, task: Task, name: str) -> None:
        self.stages.append(name)

    def finished(self, task: Task, result: str) -> None:
        assert self.name(task) not in self.results
        self.results[self.name(task)] = result

    def failed(self, group: int, jobs: Sequence[int], problem: Problem) -> None:
        for job in jobs:
            assert self.name((group, job)) not in self.failures
            self.failures[self.name((group, job))] = problem


Run = Callable[..., Seen]


def read_log(folder: Path) -> list[list[object]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]
