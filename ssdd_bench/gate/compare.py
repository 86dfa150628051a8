"""Compare two sets of results, job by job, on the same images.

A metric fails if its change in the bad direction exceeds its threshold and, where scores of single
images are there, the whole 95% interval of their mean difference lies on the bad side of zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssdd_bench.gate.load import Key, ScoredResult
from ssdd_bench.gate.thresholds import RELATIVE, RELATIVE_OF_SETS, Threshold, Thresholds
from ssdd_bench.metrics.intervals import bootstrap

Verdict = Literal["same", "better", "worse", "changed", "regression"]


@dataclass(frozen=True)
class Difference:
    """Comparison of one metric of one job.

    Attributes:
        base: value before; None if it is infinite. Likewise ``head``, the value after.
        change: head minus base; a mean over images if there is an ``interval``.
        interval: 95% of the mean difference; None for scores of whole sets.
        threshold: worsening that passes.
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
        """Return 0 for no regression, 1 for a regression, 2 if sides are not comparable."""
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

    A job of the base that the head lacks is an obstacle; a further one of the head is a note.

    With ``any_change`` improvements beyond a threshold fail too, for code that should change no
    score.
    """
    heads = {one.key: one for one in head}
    differences: list[Difference] = []
    obstacles: list[str] = []
    notes = [f"{key}: only in HEAD" for key in heads if key not in {one.key for one in base}]
    for before in base:
        after = heads.get(before.key)
        if after is None:
            obstacles.append(f"{before.key}: not in HEAD")
            continue
        if found := _obstacles(before, after):
            obstacles += found
            continue
        if before.result.tokenizer.weights != after.result.tokenizer.weights:
            notes.append(f"{before.key}: other weights")
        steps = before.result.steps, after.result.steps
        if steps[0] != steps[1]:
            notes.append(f"{before.key}: {steps[0]} steps and {steps[1]}")
        notes += _execution_notes(before, after)
        differences += [
            _difference(before, after, key, thresholds, any_change)
            for key, value in before.result.metrics.items()
            if not value.unavailable
        ]
    return Comparison(tuple(differences), tuple(obstacles), tuple(notes))


def _obstacles(before: ScoredResult, after: ScoredResult) -> list[str]:
    a, b, name = before.result, after.result, before.key
    found = []
    if a.protocol.get("sha256") != b.protocol.get("sha256"):
        found.append(f"{name}: the protocol's hash differs")
    if a.data.n != b.data.n:
        found.append(f"{name}: {a.data.n} images and {b.data.n}")
    elif a.data.ids_sha256 != b.data.ids_sha256:
        found.append(f"{name}: other images")
    elif a.data.pixels_sha256 != b.data.pixels_sha256:
        found.append(f"{name}: the same names with other pixels")
    for key in a.metrics:
        if key not in b.metrics:
            found.append(f"{name}: HEAD has no {key}")
            continue
        one, other = a.metrics[key], b.metrics[key]
        if bool(one.unavailable) != bool(other.unavailable):
            found.append(f"{name}: {key} was not measured on both sides")
        elif one.backend != other.backend:
            found.append(f"{name}: {key} by {one.backend} and by {other.backend}")
    return found


def _execution_notes(before: ScoredResult, after: ScoredResult) -> Iterator[str]:
    """Name what decides the rounding of a CPU's sums, where it differs."""
    a, b = before.result.execution, after.result.execution
    last = "the last digits of scores may differ"
    if a.device == b.device == "cpu" and a.threads != b.threads:
        yield f"{before.key}: {a.threads} and {b.threads} threads: {last}"
    if a.cpu_kernels != b.cpu_kernels:
        yield f"{before.key}: kernels {a.cpu_kernels} and {b.cpu_kernels}: {last}"


def _difference(
    before: ScoredResult, after: ScoredResult, key: str, thresholds: Thresholds, any_change: bool
) -> Difference:
    a, b = before.result.metrics[key], after.result.metrics[key]
    paired = key in before.scores and key in after.scores
    threshold = thresholds.get(key, Threshold(RELATIVE if paired else RELATIVE_OF_SETS, True, True))
    sign = 1.0 if a.higher_is_better else -1.0
    change, interval = None, None  # The change is unknown if a side is infinite.
    if paired:
        gaps = np.asarray(after.scores[key] - before.scores[key], np.float64)
        gaps = gaps[np.isfinite(gaps)]  # images whose scores are finite on both sides
        change, interval = 0.0, (0.0, 0.0)
        if gaps.any():
            change, interval = float(gaps.mean()), bootstrap(gaps)
    elif a.value is not None and b.value is not None:
        change = b.value - a.value
    lost = b.infinite < a.infinite and a.higher_is_better  # images that were perfect and are not
    verdict: Verdict = "same"
    if lost or (change is None and a.infinite != b.infinite):
        verdict = "regression" if lost else "better"
    elif change:
        gain = sign * change
        beyond = abs(gain) > threshold.allowed(a.value or 0.0)
        beyond &= interval is None or interval[0] * interval[1] > 0
        if gain < 0:
            verdict = "regression" if beyond else "worse"
        else:
            verdict = "changed" if beyond and any_change else "better"
    return Difference(before.key, key, a.value, b.value, change, interval, threshold, verdict)
