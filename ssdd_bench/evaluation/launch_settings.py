"""Launch settings: where the jobs of a run are computed. No number depends on them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch

from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.environment import choose_device
from ssdd_bench.launch.processes import Processes, cores
from ssdd_bench.launch.ranks import Rank
from ssdd_bench.launch.shares import Share
from ssdd_bench.launch.slots import InProcess, Slots

PRELOAD: Final = ("torch", "ssdd_bench.evaluation.worker")
"""Modules that every worker needs."""


def count_gpus(device: str, given: int | None = None, elsewhere: bool = False) -> int:
    """Return the number of GPUs of a worker of a cluster: one, unless it works on the CPU.

    Args:
        device: of the worker, as typed.
        given: the number, if the user gave it.
        elsewhere: True if this machine need not have a GPU itself, such as the one from which jobs
            of SLURM are submitted.
    """
    if given is not None:
        return given
    return int(device != "cpu" if elsewhere else choose_device(device).type == "cuda")


@dataclass(frozen=True)
class Launch:
    """Settings of how a run is carried out.

    Attributes:
        in_process: True computes everything in this process, one job after another.
        jobs: worker processes; by default one for each GPU that is visible, or one on a CPU.
        threads: of the CPU, for each worker; by default they share those of this process.
        timeout: seconds without progress after which a job has failed; None for no limit.
        share: compute this share only, for a merge.
        rank: of this process, if another launcher started it with others.
        wait: seconds that a rank waits for the others.
        ray_gpus: that each worker reserves on a Ray cluster; None works on this machine.

    Raises:
        UserError: settings contradict each other.
    """

    in_process: bool = False
    jobs: int | None = None
    threads: int | None = None
    timeout: float | None = None
    share: Share | None = None
    rank: Rank | None = None
    wait: float = 3600.0
    ray_gpus: int | None = None

    @property
    def own_share(self) -> Share | None:
        """Return the share of the work that this process has; None is all of it."""
        return self.rank.share if self.rank else self.share

    def __post_init__(self) -> None:
        if self.in_process and self.jobs is not None and self.jobs > 1:
            raise UserError(
                f"in-process has one worker, not {self.jobs}: leave jobs or in-process out"
            )
        if self.in_process and self.timeout is not None:
            raise UserError("in-process cannot end what hangs: leave timeout or in-process out")
        if self.ray_gpus is not None and (self.in_process or self.share or self.rank):
            raise UserError("workers on Ray need no shares, ranks or in-process: leave them out")

    def choose_device(self, name: str) -> torch.device:
        """Turn a name into a device of the machines that work.

        Raises:
            UserError: there is no such device.
        """
        if self.ray_gpus is None:
            return choose_device(name)
        # The GPU of a worker is somewhere else, and its only one.
        return torch.device("cuda" if self.ray_gpus else "cpu")

    def devices(self, device: torch.device) -> tuple[str, ...]:
        """Return the device of each worker; ``cuda`` without a number is every GPU, by turns."""
        names = [str(device)]
        if names == ["cuda"]:
            names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
            if self.rank is not None:
                names = [names[self.rank.local % len(names)]]
        count = self.jobs or len(names)
        return tuple(names[index % len(names)] for index in range(count))

    def crowds(self, device: torch.device) -> bool:
        """Return True if several workers are at work on one device, so that clocks are wrong."""
        if self.ray_gpus is not None:
            return not self.ray_gpus and (self.jobs or 1) > 1
        devices = () if self.in_process else self.devices(device)
        ranks = self.rank.local_count if self.rank and device.type == "cpu" else 1
        return max(1, len(devices)) * ranks > max(1, len(set(devices)))

    def slots(self, device: torch.device) -> Slots[Any]:
        """Return where workers run, on this device or all of its kind."""
        if self.in_process:
            (name,) = self.devices(device)[:1]
            return InProcess(name)
        if self.ray_gpus is not None:
            return self._on_ray(device, self.ray_gpus)
        devices = self.devices(device)
        # Ranks of a machine share its cores; torchrun has divided the threads already.
        beside = len(devices) * (self.rank.local_count if self.rank else 1)
        each = self.threads or max(1, torch.get_num_threads() // len(devices))
        alone = self.threads or torch.get_num_threads()
        return Processes(devices, (each, alone), (max(1, cores() // beside), cores()), PRELOAD)

    def connected(self) -> AbstractContextManager[None]:
        """Connect to the Ray cluster for a ``with`` block, if there is to be one."""
        if self.ray_gpus is None:
            return nullcontext()
        from ssdd_bench.launch.ray import cluster

        return cluster(self.jobs or 1, self.ray_gpus, self._ray_threads()[0])

    def _ray_threads(self) -> tuple[int, int]:
        """Return the threads of a worker and of one that is alone, as on this machine."""
        alone = self.threads or torch.get_num_threads()
        return self.threads or max(1, alone // (1 if self.ray_gpus else self.jobs or 1)), alone

    def _on_ray(self, device: torch.device, gpus: int) -> Slots[Any]:
        from ssdd_bench.launch.ray import RaySlots, count_slots, cpus_beside

        threads = self._ray_threads()
        cpus = 1 if gpus else threads[0]
        count = self.jobs or (count_slots(gpus) if gpus else 1)
        beside = cpus_beside(gpus) if gpus else cpus
        make = partial(Processes, (device.type,), threads, (beside, cores()), PRELOAD)
        return RaySlots(count, make, device.type, gpus, cpus)
