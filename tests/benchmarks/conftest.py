"""Clock of the benchmarks: calls that are compared take turns in one process."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssdd_bench.evaluation.environment import cpu_name
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.timing import speed_ratio, time_by_turns


@pytest.fixture
def by_turns(benchmark):
    """Return a function that times calls by turns, and records medians and ratios.

    Ratios are those of each call's seconds to those of the first, the one under test.
    """

    def measure(calls: dict[str, Callable[[], object]], rounds: int = 7, **facts: object):
        keep_freed_memory()
        columns = time_by_turns(list(calls.values()), torch.device("cpu"), rounds, warmup=1).T
        seconds = dict(zip(calls, columns, strict=True))
        first, *others = calls
        benchmark.pedantic(calls[first], rounds=1)
        ratios = {name: speed_ratio(seconds[name], seconds[first]) for name in others}
        benchmark.extra_info |= {
            "seconds": {name: float(np.median(times)) for name, times in seconds.items()},
            "ratios": {name: ratio for name, (ratio, _) in ratios.items()},
            "intervals": {name: interval for name, (_, interval) in ratios.items()},
            "rounds": rounds,
            "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch "
            f"{torch.__version__.split('+')[0]}, {torch.backends.cpu.get_cpu_capability()}",
            **facts,
        }
        return benchmark.extra_info["ratios"]

    return measure
