"""Dummy groups that workers can import, and slots of both kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dummy_groups import Dummy, Run, Seen

from ssdd_bench.launch.processes import Processes
from ssdd_bench.launch.scheduler import Scheduler
from ssdd_bench.launch.slots import InProcess, Slots


@pytest.fixture
def run_dummies(tmp_path: Path) -> Run:
    """Run groups of jobs that are given by (name, jobs), in so many workers; 0: in process."""

    def run(
        groups: dict[str, dict[str, int | str]],
        workers: int = 0,
        folder: Path = tmp_path,
        device: str = "cpu",
        clock: bool = False,
        **options: object,
    ) -> Seen:
        dummies = [Dummy(name, jobs, folder, clock) for name, jobs in groups.items()]
        slots: Slots[str] = Processes([device] * workers) if workers else InProcess(device)
        seen = Seen(dummies)
        Scheduler(dummies, slots, seen, **options).run()
        return seen

    return run


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Every worker ends with its run."""
    from multiprocessing import active_children

    yield
    assert not active_children()
