"""Checks of the content of one result: protocol, checksums, and values that can be true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

from ssdd_bench.hub.findings import Problem
from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.protocols.standing import (
    Standing,
    former_version,
    protocol_hash,
    standing_of,
)
from ssdd_bench.results.places import path_of, scores_place
from ssdd_bench.results.schema import MetricValue, Result, Timing

SHA256: Final = re.compile(r"[0-9a-f]{64}")
TOLERANCE: Final = 1e-3
"""Excess over a bound of the catalogue that rounding may cause."""

Found = tuple[Problem, str]


def content_findings(result: Result) -> Iterator[Found]:
    """Yield the problems of a result's content, each with a text that holds the value."""
    yield from _protocol(result)
    if not SHA256.fullmatch(result.fingerprint):
        yield Problem.FINGERPRINT, f"fingerprint '{result.fingerprint}' is no sha256"
    yield from _checksums(result)
    yield from _sizes(result)
    for key, metric in result.metrics.items():
        for text in _metric(key, metric, result.data.n):
            yield Problem.VALUE, text
    if result.speed is not None:
        for way, timing in (("encode", result.speed.encode), ("decode", result.speed.decode)):
            yield from _timing(f"speed.{way}", timing)


def _protocol(result: Result) -> Iterator[Found]:
    name, sha256 = result.protocol.get("id"), result.protocol.get("sha256")
    standing = standing_of(result)
    if standing is Standing.UNKNOWN_PROTOCOL:
        yield Problem.PROTOCOL_UNKNOWN, f"no protocol '{name}' is known"
    elif standing is Standing.OTHER_PROTOCOL:
        yield Problem.PROTOCOL_HASH, f"protocol {name} has sha256 {sha256}, not the published one"
    elif standing is Standing.SUPERSEDED_PROTOCOL:
        yield Problem.PROTOCOL_SUPERSEDED, former_version(result)
    if protocol_hash(result.protocol) != sha256:
        yield Problem.PROTOCOL_ALTERED, f"the recorded settings of {name} do not have its sha256"


def _checksums(result: Result) -> Iterator[Found]:
    """Check that networks have weights with checksums; codecs and images made elsewhere do not."""
    tokenizer = result.tokenizer
    made = result.generation.weights if result.generation else {}
    for file, sha256 in {**tokenizer.weights, **made}.items():
        if not SHA256.fullmatch(sha256):
            yield Problem.CHECKSUM, f"weights {file} have '{sha256}', which is no sha256"
    if tokenizer.params_encoder + tokenizer.params_decoder > 0 and not tokenizer.weights:
        yield Problem.CHECKSUM, f"{tokenizer.label} has parameters and no checksum of its weights"
    if result.generation and result.generation.params > 0 and not made:
        yield Problem.CHECKSUM, f"{result.generation.model} has no checksum of its weights"


def _sizes(result: Result) -> Iterator[Found]:
    shape = result.latent.shape
    has_cells = shape is not None and shape[1] > 1
    least = {
        "seconds": (result.seconds, 0),
        "latent.f": (result.latent.f, int(has_cells)),
        "tokenizer.params_encoder": (result.tokenizer.params_encoder, 0),
        "tokenizer.params_decoder": (result.tokenizer.params_decoder, 0),
    }
    for name, (value, minimum) in least.items():
        if value < minimum:
            yield Problem.VALUE, f"{name} is {value}, less than {minimum}"
    if result.scores not in (
        "",
        scores_place(PurePosixPath(path_of(result, Path()).name)).as_posix(),
    ):
        yield Problem.VALUE, f"scores is '{result.scores}', which is not beside this result"
    try:
        datetime.fromisoformat(result.created)
    except ValueError:
        yield Problem.VALUE, f"created is '{result.created}', no time in ISO 8601"


def _metric(key: str, metric: MetricValue, n: int) -> Iterator[str]:
    info = METRICS.all().get(key)
    if info is not None and info.higher_is_better != metric.higher_is_better:
        yield f"{key} says higher_is_better {metric.higher_is_better}, against the catalogue"
    if not 0 <= metric.n <= n:
        yield f"{key} is computed on {metric.n} of {n} images"
    if metric.value is None:
        if not metric.infinite and not metric.unavailable:
            yield f"{key} has no value and no reason"
        return
    low = info.minimum if info and info.minimum is not None else float("-inf")
    high = info.maximum if info and info.maximum is not None else float("inf")
    if not low - TOLERANCE <= metric.value <= high + TOLERANCE:
        yield f"{key} is {metric.value:g}, outside {low:g} to {high:g}"
    if metric.interval is not None and metric.interval[0] > metric.interval[1]:
        yield f"{key} has an interval from {metric.interval[0]:g} down to {metric.interval[1]:g}"


def _timing(name: str, timing: Timing) -> Iterator[Found]:
    if timing.batch < 1:
        yield Problem.VALUE, f"{name} has a batch of {timing.batch}"
    elif not 0 < timing.q1_s <= timing.median_s <= timing.q3_s:
        quartiles = f"{timing.q1_s:g}, {timing.median_s:g}, {timing.q3_s:g}"
        yield Problem.VALUE, f"{name} has quartiles {quartiles} s, which are not in order"
    elif abs(timing.images_per_s * timing.median_s / timing.batch - 1) > 0.01:
        rate = f"{timing.images_per_s:g} images/s"
        yield Problem.VALUE, f"{name} says {rate}, not {timing.batch / timing.median_s:g}"
