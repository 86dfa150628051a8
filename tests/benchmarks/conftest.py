"""Clock of the benchmarks: calls that are compared take turns in one process."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssdd_bench.evaluation.environment import cpu_name
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.metrics.intervals import bootstrap


@pytest.fixture
def by_turns(benchmark):
    """Return a function that times calls by turns, and records medians and ratios.

    Ratios are those of each call's seconds to those of the first, the one under test.
    """

    def measure(calls: dict[str, Callable[[], object]], rounds: int = 7, **facts: object):
        keep_freed_memory()
        for call in calls.values():
            call()
        seconds = {name: np.zeros(rounds) for name in calls}
        for turn in range(rounds):
            for name in list(calls)[:: 1 if turn % 2 else -1]:
                started = time.perf_counter()
                calls[name]()
                seconds[name][turn] = time.perf_counter() - started
        first = next(iter(calls))
        benchmark.pedantic(calls[first], rounds=1)
        ratios = {name: times / seconds[first] for name, times in seconds.items() if name != first}
        benchmark.extra_info |= {
            "seconds": {name: float(np.median(times)) for name, times in seconds.items()},
            "ratios": {name: float(np.median(ratio)) for name, ratio in ratios.items()},
            "intervals": {name: bootstrap(ratio, np.median) for name, ratio in ratios.items()},
            "rounds": rounds,
            "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch "
            f"{torch.__version__.split('+')[0]}, {torch.backends.cpu.get_cpu_capability()}",
            **facts,
        }
        return benchmark.extra_info["ratios"]

    return measure
