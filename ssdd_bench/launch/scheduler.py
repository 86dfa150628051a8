"""The scheduler: which slot works on what, and what happens when something breaks.

A slot takes a group that no other slot has, opens its jobs one after another and works through
their chunks. A slot without a group of its own helps where chunks are left. Whoever completes a job
reads its clock and finishes it; with several slots clocks are read at the end, on idle devices.
Imports no torch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Generic

from ssdd_bench.errors import DataError, OutputError
from ssdd_bench.launch.slots import (
    Answer,
    Call,
    ChunkDone,
    Died,
    Event,
    ImagesDone,
    Raised,
    Slots,
    Stage,
)
from ssdd_bench.launch.tasks import Group, Opened, Problem, R

ATTEMPTS: Final = 2
"""Workers that may die over the same piece of work."""

Task = tuple[int, int]
"""A job: the number of its group, and its number there."""
Shares = Mapping[Task, range]
"""Chunks that are ours, of each job that has any; consecutive."""


class Watcher(Generic[R]):
    """Receives what the scheduler learns; does nothing by itself."""

    def started(self, task: Task, opened: Opened[R]) -> None:
        """Take in that work on a job begins."""

    def images_done(self, task: Task, count: int) -> None:
        """Take in that ``count`` more images of a job are done; fewer are if it is negative."""

    def stage(self, task: Task, name: str) -> None:
        """Take in the name of what follows the images."""

    def finished(self, task: Task, result: R) -> None:
        """Take in the result of a job, which is on disk."""

    def failed(self, group: int, jobs: Sequence[int], problem: Problem) -> None:
        """Take in that some jobs of a group have failed: all that are left if it cannot load."""


@dataclass
class _Job(Generic[R]):
    """A job as far as it is known; ``free`` are missing chunks that nobody computes, ascending."""

    task: Task
    opened: Opened[R] | None = None
    free: list[int] = field(default_factory=list)
    untimed: bool = False
    over: bool = False

    def take(self, size: int) -> tuple[int, ...]:
        """Take consecutive chunks, at most so many."""
        block = self.free[:1]
        while len(block) < size and self.free[len(block) : len(block) + 1] == [block[-1] + 1]:
            block.append(block[-1] + 1)
        del self.free[: len(block)]
        return tuple(block)


@dataclass
class _Seat:
    """A slot: the group that its worker has loaded, the jobs open there, and the call it is at.

    While ``loading``, it has no call.
    """

    group: int | None = None
    open: set[int] = field(default_factory=set)
    call: Call | None = None
    loading: bool = False
    left: list[int] = field(default_factory=list)  # chunks of the call that are not done
    unsaved: int = 0  # images that are counted, and whose chunk is not done
    since: float = 0.0  # when it last gave a sign of life

    @property
    def busy(self) -> bool:
        return self.loading or self.call is not None


class Scheduler(Generic[R]):
    """Runs groups on slots.

    Args:
        groups: in the order in which they start.
        slots: where they run.
        watcher: receives what happens.
        timeout: seconds without a sign of life after which a job has failed; None for no limit.
        shares: compute these chunks only, and finish no job: a merge does, when all shares are
            done. The clock of a job is read by whoever has its first chunk.
        quiet: is called before clocks are read at the end, and returns when no other launch is at
            work on this machine.
    """

    def __init__(
        self,
        groups: Sequence[Group[R]],
        slots: Slots[R],
        watcher: Watcher[R] | None = None,
        timeout: float | None = None,
        shares: Shares | None = None,
        quiet: Callable[[], None] | None = None,
    ) -> None:
        self._groups = groups
        self._slots = slots
        self._watcher: Watcher[R] = watcher or Watcher()
        self._timeout = timeout
        self._shares = shares
        self._quiet = quiet
        self._jobs: list[list[_Job[R]]] = [
            [
                _Job((number, job), over=shares is not None and (number, job) not in shares)
                for job in range(len(group.jobs))
            ]
            for number, group in enumerate(groups)
        ]
        self._seats = [_Seat() for _ in slots.devices]
        self._deaths: Counter[tuple[Any, ...]] = Counter()
        self._refused: set[tuple[int, int]] = set()  # slot and group that it could not load
        self._clock = False  # the last phase: clocks are read

    def run(self) -> None:
        """Run until every job has a result or has failed, and end all workers, whatever happens.

        Raises:
            DataError: something is wrong with the images, which concerns every job.
            OutputError: the results cannot be written.
        """
        with self._slots:
            self._work()
            if self._quiet is not None:
                self._quiet()
            self._clock = True
            self._work()
            for group in range(len(self._groups)):  # none, unless the slots have refused it in turn
                problem = Problem("WorkerDied", "no slot could load it")
                self._fail(group, self._unfinished(group), problem)

    def _work(self) -> None:
        """Work until nothing is left to do in this phase."""
        self._assign()
        while any(seat.busy for seat in self._seats) or self._is_short_of_places():
            self._slots.wait(self._take, self._patience())
            self._end_hangs()
            self._assign()

    def _is_short_of_places(self) -> bool:
        """Return True if work waits for a slot that is not there yet."""
        return not all(map(self._slots.is_there, range(len(self._seats)))) and any(
            self._has_work(job) for jobs in self._jobs for job in jobs
        )

    # Who does what.

    def _assign(self) -> None:
        """Give every idle slot something to do, as far as there is something."""
        for slot, seat in enumerate(self._seats):
            if seat.group is not None and not seat.busy and not self._resume(slot, seat.group):
                self._slots.stop(slot)
                self._seats[slot] = _Seat()
        for slot, seat in enumerate(self._seats):
            if (
                seat.group is None
                and self._slots.is_there(slot)
                and not (self._clock and self._device_is_busy(slot))
            ):
                self._start(slot)

    def _resume(self, slot: int, group: int) -> bool:
        """Have a slot go on with its group; return False if nothing is left there for it."""
        for job in self._jobs[group]:
            call = self._next_call(job, self._seats[slot])
            if call is not None:
                self._ask(slot, call)
                return True
        return False

    def _next_call(self, job: _Job[R], seat: _Seat) -> Call | None:
        """Return what an idle worker of the job's group can do for it."""
        number = job.task[1]
        if not self._has_work(job):
            return None
        if number not in seat.open:
            return Call("open", number)
        if job.free:
            return Call("work", number, job.take(self._block(job)))
        if job.untimed:
            return Call("time", number)
        return Call("finish", number)

    def _block(self, job: _Job[R]) -> int:
        """Return how many chunks a worker takes: half of a slot's part of all that is left.

        Large blocks spare pauses between them, and small ones at the end keep every slot busy. A
        job that nobody has opened is taken to be as large as this one.
        """
        slots = len(self._slots.devices)
        if slots == 1 or job.opened is None:
            return len(job.free)
        left = 0
        for one in chain.from_iterable(self._jobs):
            if one.opened is not None:
                left += len(one.free)
            elif not one.over:
                left += len(self._shares[one.task] if self._shares else job.opened.images)
        return max(1, left // (2 * slots))

    def _has_work(self, job: _Job[R]) -> bool:
        """Return True if an idle worker can do something for a job."""
        if job.over or self._at_work(job, "time", "finish"):
            return False
        if job.opened is None:
            return not self._at_work(job, "open")
        if job.free:
            return True
        if self._at_work(job, "open", "work"):
            return False
        return self._may_time() if job.untimed else self._is_to_finish(job)

    def _is_to_finish(self, job: _Job[R]) -> bool:
        """Return True if no merge makes the result: there is no share, or a job has no images."""
        return self._shares is None or (job.opened is not None and not job.opened.images)

    def _may_time(self) -> bool:
        return self._clock or (len(self._slots.devices) == 1 and self._quiet is None)

    def _at_work(self, job: _Job[R], *methods: str) -> bool:
        """Return True if a worker is at one of these calls for a job."""
        group, number = job.task
        return any(
            seat.group == group
            and seat.call is not None
            and seat.call.job == number
            and seat.call.method in methods
            for seat in self._seats
        )

    def _start(self, slot: int) -> None:
        """Load a group into an empty slot: one that nobody has, or else the one with most left."""
        groups = [
            group
            for group in range(len(self._groups))
            if (slot, group) not in self._refused and any(map(self._has_work, self._jobs[group]))
        ]
        fresh = [group for group in groups if not self._workers(group)]
        # While a group is loaded for the first time, nobody knows if it has work for two.
        helped = [group for group in groups if self._is_known(group) and not self._clock]
        if fresh:
            group = fresh[0]
        elif helped:
            group = max(helped, key=lambda one: self._chunks_left(one) / self._workers(one))
        else:
            return
        self._seats[slot] = _Seat(group, loading=True, since=time.monotonic())
        self._slots.load(slot, self._groups[group], alone=self._clock)

    def _workers(self, group: int) -> int:
        return sum(seat.group == group for seat in self._seats)

    def _chunks_left(self, group: int) -> int:
        return sum(len(job.free) for job in self._jobs[group])

    def _is_known(self, group: int) -> bool:
        return any(seat.group == group and not seat.loading for seat in self._seats)

    def _device_is_busy(self, slot: int) -> bool:
        device = self._slots.devices[slot]
        return any(
            seat.busy and self._slots.devices[other] == device
            for other, seat in enumerate(self._seats)
        )

    def _ask(self, slot: int, call: Call) -> None:
        seat = self._seats[slot]
        seat.call, seat.left, seat.since = call, list(call.chunks), time.monotonic()
        seat.unsaved = 0
        self._slots.ask(slot, call)

    # What has happened.

    def _take(self, slot: int, event: Event) -> None:
        """Take in an event of a slot."""
        seat = self._seats[slot]
        seat.since = time.monotonic()
        task = (seat.group or 0, seat.call.job if seat.call else 0)
        if isinstance(event, ImagesDone):
            seat.unsaved += event.count
            self._watcher.images_done(task, event.count)
        elif isinstance(event, Stage):
            self._watcher.stage(task, event.name)
        elif isinstance(event, ChunkDone):
            seat.left.remove(event.chunk)
            seat.unsaved = max(0, seat.unsaved - self._images(task, event.chunk))
        elif isinstance(event, Answer):
            self._answered(slot, event.value)
        elif isinstance(event, Raised):
            if isinstance(error := event.problem.user_error, DataError | OutputError):
                raise error
            self._raised(slot, event.problem)
        else:
            self._died(slot, event)

    def _job(self, task: Task) -> _Job[R]:
        return self._jobs[task[0]][task[1]]

    def _images(self, task: Task, chunk: int) -> int:
        opened = self._job(task).opened
        return opened.images[chunk] if opened else 0

    def _answered(self, slot: int, value: Any) -> None:
        seat = self._seats[slot]
        call, seat.call, seat.loading = seat.call, None, False
        if call is None or seat.group is None:
            return
        job = self._job((seat.group, call.job))
        if call.method == "open":
            seat.open.add(call.job)
            self._opened(job, value)
        elif call.method == "work":
            if seat.left:
                name = self._groups[seat.group].jobs[call.job]
                text = f"chunks {seat.left} of {name} were not saved"
                self._fail(seat.group, [call.job], Problem("RuntimeError", text))
        elif call.method == "time":
            job.untimed = False
        else:
            job.over = True
            self._watcher.finished(job.task, value)
        working = job.free or job.untimed or self._at_work(job, "work")
        if not working and not self._is_to_finish(job):
            job.over = True

    def _opened(self, job: _Job[R], opened: Opened[R]) -> None:
        """Take in what is left to do of a job."""
        if opened.result is not None:
            job.over = True
            self._watcher.finished(job.task, opened.result)
        elif job.opened is not None:
            # A worker that died may have saved more than it could tell.
            saved = [chunk for chunk in job.free if chunk not in opened.missing]
            job.free = [chunk for chunk in job.free if chunk not in saved]
            if count := sum(self._images(job.task, chunk) for chunk in saved):
                self._watcher.images_done(job.task, count)
            job.untimed &= opened.untimed
        else:
            ours = range(len(opened.images)) if self._shares is None else self._shares[job.task]
            job.free = [chunk for chunk in opened.missing if chunk in ours]
            job.untimed = opened.untimed and (self._shares is None or 0 in ours)
            self._watcher.started(job.task, opened)
        job.opened = job.opened or opened

    def _raised(self, slot: int, problem: Problem) -> None:
        seat = self._seats[slot]
        call, seat.call = seat.call, None
        if seat.group is None:
            return
        if call is not None:
            self._fail(seat.group, [call.job], problem)
        else:
            self._not_loaded(slot, seat.group, problem)

    def _not_loaded(self, slot: int, group: int, problem: Problem) -> None:
        """Leave a group to the workers that have loaded it, or else give it up."""
        self._slots.stop(slot)
        self._seats[slot] = _Seat()
        self._refused.add((slot, group))
        if not self._is_known(group):
            self._fail(group, self._unfinished(group), problem)

    def _died(self, slot: int, event: Died) -> None:
        """Have the work of a dead worker done again, unless a worker died over it before."""
        seat, self._seats[slot] = self._seats[slot], _Seat()
        if seat.group is None or not seat.busy:
            return
        call = seat.call
        piece = (call.method, call.job, *seat.left[:1]) if call else ("load",)
        self._deaths[seat.group, *piece] += 1
        again = self._deaths[seat.group, *piece] < ATTEMPTS
        text = f"{ATTEMPTS} processes died over it, the last {event.how}"
        problem = Problem("WorkerDied", text)
        if call is not None:
            job = self._job((seat.group, call.job))
            job.free = sorted([*job.free, *seat.left])
            if seat.unsaved:
                self._watcher.images_done(job.task, -seat.unsaved)
            if not again:
                self._fail(seat.group, [call.job], problem)
        elif not again:
            self._not_loaded(slot, seat.group, problem)

    def _patience(self) -> float | None:
        """Return the seconds until the next slot has been silent for too long."""
        since = min((seat.since for seat in self._seats if seat.busy), default=None)
        if self._timeout is None or since is None:
            return None
        return max(0.0, since + self._timeout - time.monotonic())

    def _end_hangs(self) -> None:
        """End the workers that have been silent for too long; their jobs have failed."""
        for slot, seat in enumerate(self._seats):
            if self._timeout is None or not seat.busy or seat.group is None:
                continue
            if time.monotonic() - seat.since >= self._timeout:
                problem = Problem("Timeout", f"no progress for {self._timeout:g} s")
                if seat.call is None:
                    self._not_loaded(slot, seat.group, problem)
                else:
                    self._fail(seat.group, [seat.call.job], problem)

    def _unfinished(self, group: int) -> list[int]:
        return [job.task[1] for job in self._jobs[group] if not job.over]

    def _fail(self, group: int, jobs: Sequence[int], problem: Problem) -> None:
        """Give up some jobs, and end other workers that are at them."""
        failed = [number for number in jobs if not self._jobs[group][number].over]
        for number in failed:
            self._jobs[group][number].over = True
        for slot, seat in enumerate(self._seats):
            if seat.group == group and seat.call is not None and seat.call.job in failed:
                self._slots.stop(slot)
                self._seats[slot] = _Seat()
        if failed:
            self._watcher.failed(group, failed, problem)
