"""Compare two sets of results, job by job, on the same images.

A metric fails if its change in the bad direction exceeds its threshold and, where scores of single
images are there, the whole 95% interval of the difference lies on the bad side of zero. Where the
two sides have different seeds, the change must also exceed what two seeds of one tokenizer differ
by in all but 5% of the comparisons of a job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ssdd_bench.errors import UnknownNameError, counted
from ssdd_bench.gate.load import Key, ScoredResult
from ssdd_bench.gate.paired import any_spoilt, paired_change
from ssdd_bench.gate.thresholds import (
    FALSE_ALARMS,
    SPEED,
    Threshold,
    Thresholds,
    default_threshold,
    detectable,
)
from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.metrics.intervals import BOOTSTRAP
from ssdd_bench.report.pooled import POOLED

AGAIN = "measure BASE again"

Verdict = Literal["same", "better", "worse", "changed", "regression"]


@dataclass(frozen=True)
class Difference:
    """Comparison of one metric of one job.

    Attributes:
        base: value before; None if it is infinite. Likewise ``head``, the value after.
        change: head minus base; a mean over images if these have scores of their own.
        interval: 95% of the change over images; None for scores of whole sets.
        threshold: worsening that passes.
        detectable: smallest true worsening that fails with 80% probability on as many images;
            None where the uncertainty is not known.
        verdict: ``regression`` fails the gate, and so does ``changed``, an improvement that
            was not allowed; ``worse`` and ``better`` pass.
    """

    key: Key
    metric: str
    base: float | None
    head: float | None
    change: float | None
    interval: tuple[float, float] | None
    threshold: Threshold
    verdict: Verdict
    detectable: float | None = None

    @property
    def fails(self) -> bool:
        """Return True if the gate fails."""
        return self.verdict in ("regression", "changed")


@dataclass(frozen=True)
class Comparison:
    """Comparison of two sets of results.

    Attributes:
        differences: in the order of the base's jobs.
        obstacles: why jobs cannot be compared, a line each.
        notes: differences that are allowed, such as other weights.
    """

    differences: tuple[Difference, ...]
    obstacles: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 if nothing fails, 1 if a metric does, 2 if sides are not comparable."""
        if self.obstacles or not self.differences:
            return 2
        return int(any(found.fails for found in self.differences))


def compare(
    base: Sequence[ScoredResult],
    head: Sequence[ScoredResult],
    thresholds: Thresholds,
    any_change: bool = False,
) -> Comparison:
    """Match jobs by tokenizer, resolution, protocol and seed, and compare every metric of both.

    A job of the base that the head lacks is compared with one of another seed that the base lacks,
    if there is one, and is an obstacle otherwise; a further job of the head is a note.

    With ``any_change`` improvements beyond a threshold fail too, for code that should change no
    score.

    Raises:
        UserError: a threshold is of a metric that nobody knows.
    """
    measured_keys = {key for one in (*base, *head) for key in one.result.metrics}
    known = {*METRICS.all(), *measured_keys, SPEED}
    for key in thresholds:
        if key not in known:
            raise UnknownNameError("metric", key, known)
    differences: list[Difference] = []
    obstacles: list[str] = []
    pairs = _match(base, head)
    used = {id(after) for _, after in pairs if after}
    notes = [f"{one.key}: only in HEAD" for one in head if id(one) not in used]
    for before, after in pairs:
        if after is None:
            obstacles.append(f"{before.key}: not in HEAD")
            continue
        if found := _obstacles(before, after):
            obstacles += found
            continue
        if before.key != after.key:
            notes.append(f"{before.key}: compared with seed {after.key.seed}")
        if before.result.tokenizer.weights != after.result.tokenizer.weights:
            notes.append(f"{before.key}: other weights")
        steps = before.result.steps, after.result.steps
        if steps[0] != steps[1]:
            notes.append(f"{before.key}: steps {steps[0]} and {steps[1]}")
        notes += _execution_notes(before, after)
        notes += _score_notes(before, after)
        measured = [key for key, one in before.result.metrics.items() if not one.unavailable]
        differences += [
            _difference(before, after, key, thresholds, any_change, len(measured))
            for key in measured
        ]
    compared = {one.metric for one in differences}
    notes += [
        f"{key}: has a threshold, and is in no comparison"
        for key in thresholds
        if key not in compared and key != SPEED
    ]
    return Comparison(tuple(differences), tuple(obstacles), tuple(notes))


def _match(
    base: Sequence[ScoredResult], head: Sequence[ScoredResult]
) -> list[tuple[ScoredResult, ScoredResult | None]]:
    """Find the result of the head for each of the base, the closest first; each is used once.

    Of several jobs with one name, those of the same fingerprint belong together, then those of the
    same images. A seed that the base lacks stands in for one that the head lacks.
    """
    known = {one.key for one in base}
    found: dict[int, ScoredResult] = {}
    left = dict(enumerate(sorted(head, key=lambda one: one.key.seed)))
    closeness: list[Callable[[ScoredResult, ScoredResult], bool]] = [
        lambda a, b: a.key == b.key and a.result.fingerprint == b.result.fingerprint,
        lambda a, b: a.key == b.key and a.images == b.images,
        lambda a, b: a.key == b.key,
        lambda a, b: a.key[:3] == b.key[:3] and a.images == b.images and b.key not in known,
        lambda a, b: a.key[:3] == b.key[:3] and b.key not in known,
    ]
    for is_close in closeness:
        for place, before in enumerate(base):
            if place not in found:
                after = next((i for i, one in left.items() if is_close(before, one)), None)
                if after is not None:
                    found[place] = left.pop(after)
    return [(before, found.get(place)) for place, before in enumerate(base)]


def _obstacles(before: ScoredResult, after: ScoredResult) -> list[str]:
    a, b, name = before.result, after.result, before.key
    found = []
    if a.protocol.get("sha256") != b.protocol.get("sha256"):
        found.append(f"{name}: the protocol's hash differs: {AGAIN}")
    if a.data.n != b.data.n:
        found.append(f"{name}: {counted(a.data.n, 'image')} and {b.data.n}")
    elif a.data.ids_sha256 != b.data.ids_sha256:
        found.append(f"{name}: other images")
    elif a.data.pixels_sha256 != b.data.pixels_sha256:
        found.append(f"{name}: the same names with other pixels")
    if a.numbers_version != b.numbers_version:
        numbers = f"numbers_version {a.numbers_version} and {b.numbers_version}"
        found.append(f"{name}: {numbers}: this package's own code may have moved a score: {AGAIN}")
    for key in a.metrics:
        if key not in b.metrics:
            found.append(f"{name}: HEAD has no {key}")
            continue
        one, other = a.metrics[key], b.metrics[key]
        if bool(one.unavailable) != bool(other.unavailable):
            side = "BASE" if one.unavailable else "HEAD"
            found.append(f"{name}: {side} has no {key}: {one.unavailable or other.unavailable}")
        elif one.backend != other.backend:
            found.append(f"{name}: {key} by {one.backend} and by {other.backend}: {AGAIN}")
    return found


def _execution_notes(before: ScoredResult, after: ScoredResult) -> Iterator[str]:
    """Name what decides the rounding of sums, where it differs."""
    a, b = before.result.execution, after.result.execution
    last = "the last digits of scores may differ"
    torch = [one.result.environment.get("torch") for one in (before, after)]
    if torch[0] != torch[1]:
        yield f"{before.key}: torch {torch[0]} and {torch[1]}: {last}"
    if a.device != b.device:
        yield f"{before.key}: on {a.device} and {b.device}: {last}"
        return
    if a.device == "cpu" and a.threads != b.threads:
        yield f"{before.key}: {a.threads} and {b.threads} threads: {last}"
    if a.cpu_kernels != b.cpu_kernels:
        yield f"{before.key}: kernels {a.cpu_kernels} and {b.cpu_kernels}: {last}"


def _score_notes(before: ScoredResult, after: ScoredResult) -> Iterator[str]:
    """Name the side that lacks scores of single images, without which there is no interval."""
    for side, one in (("BASE", before), ("HEAD", after)):
        lacks = [
            key
            for key, value in one.result.metrics.items()
            if value.interval_method == BOOTSTRAP and key != POOLED and key not in one.scores
        ]
        if lacks:
            yield f"{before.key}: {side} lacks scores of single images: {', '.join(lacks)}"


def _difference(
    before: ScoredResult,
    after: ScoredResult,
    key: str,
    thresholds: Thresholds,
    any_change: bool,
    metrics: int,
) -> Difference:
    a, b = before.result.metrics[key], after.result.metrics[key]
    other_seeds = before.key.seed != after.key.seed
    found = paired_change(before.scores, after.scores, key)
    of_images = found is not None or (a.interval_method == BOOTSTRAP and not other_seeds)
    default = default_threshold(of_images, other_seeds, a.n)
    threshold = thresholds.get(key, default)
    sign = 1.0 if a.higher_is_better else -1.0
    change = None  # It is unknown if a side is infinite.
    if found is not None:
        change = found.change
    elif a.value is not None and b.value is not None:
        change = b.value - a.value
    critical, deviation = threshold.allowed(a.value or 0.0), threshold.deviation
    if found is not None:
        deviation = found.deviation
        if other_seeds:
            critical = max(critical, found.critical(FALSE_ALARMS / metrics))
    lost = a.higher_is_better and (
        b.infinite < a.infinite or any_spoilt(before.scores, after.scores, key)
    )
    verdict: Verdict = "same"
    if lost or (change is None and a.infinite != b.infinite):
        verdict = "regression" if lost else "better"
    elif change:
        gain = sign * change
        # A change of exactly the threshold passes, also where a subtraction has rounded it up.
        beyond = abs(gain) > critical and not math.isclose(abs(gain), critical)
        beyond &= found is None or found.interval[0] * found.interval[1] > 0
        if gain < 0:
            verdict = "regression" if beyond else "worse"
        else:
            verdict = "changed" if beyond and any_change else "better"
    least = critical if found is None else max(critical, found.critical())
    return Difference(
        key=before.key,
        metric=key,
        base=a.value,
        head=b.value,
        change=change,
        interval=None if found is None else found.interval,
        threshold=threshold,
        verdict=verdict,
        detectable=detectable(least, deviation) if deviation else None,
    )
