"""Simulation of large runs: duration and chunk size with workers that lag and fail.

``python tests/benchmarks/scaling.py`` prints the tables of docs/scaling.md. Nothing is measured
here: the constants below were, by the commands of that page, except those of GPUs, which are
assumptions and called so.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from dataclasses import dataclass, replace
from statistics import median

import click

from ssdd_bench.evaluation.chunks import Grid


@dataclass(frozen=True)
class Costs:
    """Seconds of one worker.

    Attributes:
        start: from the command to a worker that is ready.
        load: a tokenizer and the metrics' networks.
        image: one image at 256 px, encoded, decoded and scored.
        chunk: saving one chunk.
        block: a pause between two blocks of chunks, in which the pipeline fills again.
        merge: adding one chunk to a result.
    """

    start: float
    load: float
    image: float
    chunk: float
    block: float
    merge: float


@dataclass(frozen=True)
class Cluster:
    """Workers and what befalls them.

    Attributes:
        workers: number.
        spread: standard deviation of the logarithm of their speeds.
        laggards: fraction of them that work at half speed.
        hours_to_failure: mean time of one worker until it is killed.
        restart: seconds until another takes its place.
    """

    workers: int
    spread: float = 0.1
    laggards: float = 0.02
    hours_to_failure: float = 24.0
    restart: float = 60.0


@dataclass(frozen=True)
class Plan:
    """Tokenizers by resolutions over one set of images; work grows with the pixels."""

    images: int
    tokenizers: int
    resolutions: tuple[int, ...] = (256,)

    def work(self, costs: Costs) -> float:
        """Seconds of one worker for all images of one tokenizer."""
        return self.images * costs.image * sum((side / 256) ** 2 for side in self.resolutions)


class _Run:
    """One run, by the rules of ``ssdd_bench.launch.scheduler``."""

    def __init__(
        self, plan: Plan, cluster: Cluster, costs: Costs, size: int, dice: random.Random
    ) -> None:
        self._costs, self._cluster, self._dice = costs, cluster, dice
        counts = [min(size, plan.images - at) for at in range(0, plan.images, size)]
        # Work of the chunks of each job, the last first; small images come first.
        jobs = [
            [count * costs.image * (side / 256) ** 2 for count in counts]
            for side in sorted(plan.resolutions, reverse=True)
        ]
        self._jobs = [[[*job] for job in jobs] for _ in range(plan.tokenizers)]
        self._helpers = [0] * plan.tokenizers
        self._slots = cluster.workers
        self._chunks = len(counts) * len(jobs)

    def seconds(self) -> float:
        """Simulate the run to the end of its last merge."""
        cluster, costs = self._cluster, self._costs
        order = itertools.count()
        ready = [(costs.start, next(order), self._speed(), -1) for _ in range(cluster.workers)]
        heapq.heapify(ready)
        end = 0.0
        while ready:
            now, _, speed, group = heapq.heappop(ready)
            chosen = self._choose(group)
            if chosen is None:
                continue
            if chosen != group:
                self._helpers[chosen] += 1
                if group >= 0:
                    self._helpers[group] -= 1
                heapq.heappush(ready, (now + costs.load, next(order), speed, chosen))
                continue
            now, failed = self._work(chosen, now, speed)
            end = max(end, now)
            if failed:
                self._helpers[chosen] -= 1
                now, speed, chosen = now + cluster.restart + costs.start, self._speed(), -1
            heapq.heappush(ready, (now, next(order), speed, chosen))
        return end + costs.merge * self._chunks

    def _speed(self) -> float:
        slow = 0.5 if self._dice.random() < self._cluster.laggards else 1.0
        return slow * math.exp(self._dice.gauss(0, self._cluster.spread))

    def _left(self, group: int) -> int:
        return sum(map(len, self._jobs[group]))

    def _choose(self, group: int) -> int | None:
        """Stay, else go where most is left for each of those at work on it."""
        if group >= 0 and self._left(group):
            return group
        most = max(
            range(len(self._jobs)), key=lambda one: self._left(one) / (self._helpers[one] + 1)
        )
        return most if self._left(most) else None

    def _work(self, group: int, now: float, speed: float) -> tuple[float, bool]:
        """Do one block; return when it ends, and True if the worker was killed in it."""
        open_ = [job for job in self._jobs[group] if job]
        if not open_:
            return now, False
        job = open_[-1]
        left = sum(map(self._left, range(len(self._jobs))))
        count = min(len(job), max(1, left // (2 * self._slots)))
        block = [job.pop() for _ in range(count)]
        killed = now + self._dice.expovariate(1 / (3600 * self._cluster.hours_to_failure))
        now += self._costs.block
        while block:
            after = now + block[-1] / speed + self._costs.chunk
            if after > killed:
                job += block  # what is on disk stays; the chunk under way is lost
                return killed, True
            now = after
            block.pop()
        return now, False


def simulate(plan: Plan, cluster: Cluster, costs: Costs, size: int, runs: int = 5) -> float:
    """Return the median of some runs, in seconds."""
    return median(
        _Run(plan, cluster, costs, size, random.Random(seed)).seconds() for seed in range(runs)
    )


GPU = Costs(start=15.0, load=20.0, image=1 / 200, chunk=0.05, block=0.5, merge=0.02)
"""Assumed: 200 images/s for each GPU at 256 px, start and load as on a CPU with a margin."""
IMAGENET = Plan(50_000, 24, (128, 256, 512))
LARGE = Plan(100_000_000, 1)
GPUS = (8, 64, 512)


def ideal(plan: Plan, cluster: Cluster, costs: Costs) -> float:
    """Seconds if every worker had the mean speed and nothing else took time."""
    mean = math.exp(cluster.spread**2 / 2) * (1 - cluster.laggards / 2)
    return plan.tokenizers * plan.work(costs) / (cluster.workers * mean)


def main() -> None:
    """Print both tables."""
    _row("run", "GPUs", "ideal", "predicted", "efficiency")
    _row(*["---"] * 5)
    for name, plan in (("50,000 x 24 x 3", IMAGENET), ("100 million x 1", LARGE)):
        for gpus in GPUS:
            cluster = Cluster(gpus)
            best = ideal(plan, cluster, GPU)
            found = simulate(plan, cluster, GPU, Grid.of(plan.images).size, runs=3)
            _row(name, gpus, _hours(best), _hours(found), f"{best / found:.0%}")
    click.echo()
    _row("images in a chunk", *(f"{gpus} GPUs" for gpus in GPUS))
    _row(*["---"] * 4)
    for size in (2**power for power in range(4, 17)):
        chosen = " (chosen)" if size == Grid.of(IMAGENET.images).size else ""
        times = (simulate(IMAGENET, Cluster(gpus), GPU, size) for gpus in GPUS)
        _row(f"{size:,}{chosen}", *map(_hours, times))
    fragile = replace(Cluster(64), hours_to_failure=1.0)
    lost = simulate(IMAGENET, fragile, GPU, Grid.of(IMAGENET.images).size)
    click.echo(f"\n64 GPUs, each killed once an hour: {_hours(lost)}")


def _row(*cells: object) -> None:
    click.echo(f"| {' | '.join(map(str, cells))} |")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    main()
