"""Slots on the machines of a Ray cluster: an actor holds the place, a process of it does the work.

Ray finds a machine with a free GPU for each actor, and says when one is lost. The actor runs a slot
of its machine as the local launcher does, so that a plugin meets the same process everywhere, and
what it breaks is told in the same words.
"""

from __future__ import annotations

import math
import os
import pickle
import platform
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from ssdd_bench.errors import UserError
from ssdd_bench.install import install_command
from ssdd_bench.launch.processes import cores
from ssdd_bench.launch.slots import Answer, Call, Deliver, Died, Event, Raised, Slots
from ssdd_bench.launch.tasks import Group, R

try:
    import ray
    from ray.exceptions import RayActorError, RayTaskError
except ModuleNotFoundError as error:
    raise UserError(f"Ray needs the package ray: {install_command('ray')}") from error

GATHER: Final = 0.2
"""Seconds in which an actor gathers progress into one message."""
PLACEMENT: Final = 30.0
"""Seconds without any machine after which the user is told."""
REFUSALS: Final = 5
"""Actors in a row that may die at their start before the run ends."""
OBJECT_STORE: Final = 10**8
"""Bytes of shared memory of a cluster of our own; next to nothing goes through it."""


class Host:
    """The actor: one slot of the machine that it is on."""

    def __init__(
        self,
        make: Callable[[], Slots[Any]],
        folder: str,
        environment: Mapping[str, str],
        path: Sequence[str],
    ) -> None:
        self._make, self._folder = make, folder
        self._environment, self._path = environment, path

    def prepare(self) -> str:
        """Take over the launcher's folder, environment and path; return the machine's name.

        Raises:
            UserError: the folder is not here.
        """
        name = platform.node()
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise UserError(
                f"{self._folder} is not on {name}: --launcher ray needs a folder that all machines"
                " of the cluster share"
            ) from error
        # What Ray and this machine set is right here, but for the number of threads.
        os.environ.pop("OMP_NUM_THREADS", None)
        for key, value in self._environment.items():
            os.environ.setdefault(key, value)
        sys.path += [one for one in self._path if one not in sys.path]
        self._slots = self._make()
        return name

    def load(self, group: bytes, alone: bool) -> list[Event]:
        """Load a group, which comes as a pickle, and return the first events."""
        self._slots.load(0, cast(Group[Any], _Pickled(group)), alone)
        return self.events()

    def ask(self, call: Call) -> list[Event]:
        """Make a call and return the first events."""
        self._slots.ask(0, call)
        return self.events()

    def events(self) -> list[Event]:
        """Return the next events, of which there is at least one."""
        events: list[Event] = []
        while not events:
            self._slots.wait(lambda _, event: events.append(event))
        end = time.monotonic() + GATHER
        while not _is_last(events[-1]) and (left := end - time.monotonic()) > 0:
            self._slots.wait(lambda _, event: events.append(event), left)
        return events

    def stop(self) -> None:
        """End the worker."""
        self._slots.stop(0)


class _Pickled:
    """A group that only the worker unpickles: the actor has no use for what it imports."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.data,)


def _is_last(event: Event) -> bool:
    """Return True if nothing follows until the next call."""
    return isinstance(event, Answer | Raised | Died)


class RaySlots(Slots[R]):
    """Slots on a Ray cluster, inside the block of :func:`cluster`.

    A slot is not there before Ray has found a machine for it, and again after it was lost.

    Args:
        count: number of slots.
        make: makes the slots of one machine, of which there is one; goes there by pickle.
        device: as torch names it, such as ``cuda``; each slot has its own if it reserves GPUs.
        gpus: that each slot reserves.
        cpus: that each slot reserves.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[], Slots[R]],
        device: str,
        gpus: float = 0,
        cpus: float = 1,
    ) -> None:
        self.devices = tuple(f"{device}:{slot}" if gpus else device for slot in range(count))
        environment = {key: value for key, value in os.environ.items() if key[:4] != "RAY_"}
        remote: Any = ray.remote
        actor = remote(num_cpus=cpus, num_gpus=gpus)(Host)
        folder, path = str(Path.cwd()), list(sys.path)
        self._new_host: Callable[[], Any] = partial(actor.remote, make, folder, environment, path)
        self._hosts: list[Any] = [None] * count
        self._names: list[str] = [""] * count  # "" while there is no machine
        self._busy: list[bool] = [False] * count
        self._needs = f"{gpus:g} free GPUs and {cpus:g} free CPUs"
        self._told = False  # that there is no machine yet
        self._refusals = 0  # actors in a row that died before they could do anything
        self._awaited: dict[Any, int] = {}  # slots by what their actor will return
        for slot in range(count):
            self._place(slot)

    def _place(self, slot: int) -> None:
        """Have Ray find a machine."""
        self._hosts[slot], self._names[slot] = self._new_host(), ""
        self._awaited[self._hosts[slot].prepare.remote()] = slot

    def _forget(self, slot: int) -> None:
        """Expect nothing more of an actor."""
        self._awaited = {ref: other for ref, other in self._awaited.items() if other != slot}

    def is_there(self, slot: int) -> bool:
        """Return True if a machine has been found."""
        return bool(self._names[slot])

    def load(self, slot: int, group: Group[R], alone: bool = False) -> None:
        """Send the group to the actor."""
        self._await(slot, self._hosts[slot].load.remote(pickle.dumps(group), alone))

    def ask(self, slot: int, call: Call) -> None:
        """Send the call to the actor."""
        self._await(slot, self._hosts[slot].ask.remote(call))

    def _await(self, slot: int, ref: Any) -> None:
        self._busy[slot] = True
        self._awaited[ref] = slot

    def wait(self, deliver: Deliver, seconds: float | None = None) -> None:
        """Deliver what actors return, and their deaths."""
        if not self._awaited:
            return
        if not self._told and not any(self._names):
            seconds = PLACEMENT if seconds is None else min(seconds, PLACEMENT)
        ready, _ = ray.wait(list(self._awaited), num_returns=1, timeout=seconds)
        if not ready and not self._told and not any(self._names):
            self._told = True
            warnings.warn(
                f"waiting for a machine of the Ray cluster with {self._needs}",
                RuntimeWarning,
                stacklevel=2,
            )
        for ref in ready:
            slot = self._awaited.pop(ref)
            try:
                found = ray.get(ref)
            except RayActorError as error:
                self._replace(slot, f"was lost with its actor: {_reason(error)}", deliver)
            except RayTaskError as error:
                raise error.cause from None
            else:
                if isinstance(found, str):
                    self._names[slot] = found
                    self._refusals = 0
                elif found is not None:
                    self._deliver(slot, found, deliver)

    def _replace(self, slot: int, how: str, deliver: Deliver) -> None:
        """Have Ray find another machine for a slot whose actor is dead.

        Raises:
            UserError: no actor lives long enough.
        """
        self._refusals += not self.is_there(slot)
        if self._refusals >= REFUSALS:
            raise UserError(f"no worker starts on the Ray cluster: its process {how}")
        busy, self._busy[slot] = self._busy[slot], False
        self._forget(slot)
        self._place(slot)
        if busy:
            deliver(slot, Died(how))

    def _deliver(self, slot: int, events: list[Event], deliver: Deliver) -> None:
        host = self._hosts[slot]
        self._busy[slot] = not _is_last(events[-1])
        if self._busy[slot]:
            self._await(slot, host.events.remote())
        for event in events:
            if self._hosts[slot] is not host:
                return  # stopped by the one who got the last event
            deliver(slot, event)

    def stop(self, slot: int) -> None:
        """End the worker; an actor that is in the middle of a call is replaced."""
        if self._busy[slot]:
            self._busy[slot] = False
            self._forget(slot)
            ray.kill(self._hosts[slot])
            self._place(slot)
        elif self.is_there(slot):
            self._awaited[self._hosts[slot].stop.remote()] = slot

    def close(self) -> None:
        """End all actors."""
        self._awaited.clear()
        for host in self._hosts:
            ray.kill(host)


def _reason(error: RayActorError) -> str:
    """Return what Ray says of a death without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(" There are some potential root causes")[0] if lines else "unknown"


@contextmanager
def cluster(slots: int, gpus: float, cpus: float) -> Iterator[None]:
    """Connect to the cluster that RAY_ADDRESS names or this machine is part of, or start one here.

    A program that is connected already stays so. A cluster that was started ends with the block,
    and nobody waits for it. What Ray tells of its machines goes to standard error meanwhile:
    standard output is for the launcher's document.

    Args:
        slots: number for which a cluster that is started has room.
        gpus: that each slot reserves.
        cpus: that each slot reserves.

    Raises:
        UserError: the cluster cannot be reached, or is reached through a client.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise UserError(
            f"RAY_ADDRESS={address}: a Ray client is too far away. Run on a machine of the cluster,"
            " such as by `ray job submit -- ssdd-bench run ...`"
        )
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(sys.stderr):
        _connect(address, slots, cpus)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray sets its own
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str, slots: int, cpus: float) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address or "auto", **quiet)
    except ConnectionError as error:
        if address:
            raise UserError(f"RAY_ADDRESS={address}: no Ray cluster answers there") from error
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=max(cores(), math.ceil(slots * cpus)),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            **quiet,
        )


def count_slots(gpus: float) -> int:
    """Return the number of slots for which the cluster has GPUs, free or not.

    Raises:
        UserError: there is none.
    """
    count = int(ray.cluster_resources().get("GPU", 0) // gpus)
    if not count:
        raise UserError(
            "the Ray cluster has no GPU for a worker now. Add --jobs to wait for so many, or"
            " --gpus-per-job 0"
        )
    return count


def cpus_beside(gpus: float) -> int:
    """Return the number of CPUs of the cluster for each slot with so many GPUs."""
    total = ray.cluster_resources()
    return max(1, int(total.get("CPU", 1) * gpus / max(gpus, total.get("GPU", 0))))
