"""Launch settings: where the jobs of a run are computed. No number depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.environment import cores
from ssdd_bench.launch.processes import Processes
from ssdd_bench.launch.ranks import Rank
from ssdd_bench.launch.shares import Share
from ssdd_bench.launch.slots import InProcess, Slots

PRELOAD: Final = ("torch", "ssdd_bench.evaluation.worker")
"""Modules that every worker needs."""


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
    """

    in_process: bool = False
    jobs: int | None = None
    threads: int | None = None
    timeout: float | None = None
    share: Share | None = None
    rank: Rank | None = None
    wait: float = 3600.0

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UserError: names them.
        """
        if self.in_process and self.jobs is not None and self.jobs > 1:
            raise UserError(f"one process has no {self.jobs} workers: leave jobs or in-process out")
        if self.in_process and self.timeout is not None:
            raise UserError("nothing can end a hang of this process: leave timeout or it out")

    def devices(self, device: torch.device) -> tuple[str, ...]:
        """Return the device of each worker; ``cuda`` without a number is every GPU, by turns."""
        names = [str(device)]
        if names == ["cuda"]:
            names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
            if self.rank is not None:
                names = [names[self.rank.local % len(names)]]
        count = self.jobs or len(names)
        return tuple(names[index % len(names)] for index in range(count))

    def slots(self, device: torch.device) -> Slots[Any]:
        """Return where workers run, on this device or all of its kind."""
        if self.in_process:
            (name,) = self.devices(device)[:1]
            return InProcess(name)
        devices = self.devices(device)
        # Ranks of a machine share its cores; torchrun has divided the threads already.
        beside = len(devices) * (self.rank.local_count if self.rank else 1)
        each = self.threads or max(1, torch.get_num_threads() // len(devices))
        alone = self.threads or torch.get_num_threads()
        return Processes(devices, (each, alone), (max(1, cores() // beside), cores()), PRELOAD)
