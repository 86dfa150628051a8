"""Methods: tables of protocols, weights and machines, from the records in the results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ssdd_bench.errors import counted
from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.report.frame import is_generation, protocol_names
from ssdd_bench.report.tables.model import Table
from ssdd_bench.results.schema import Result


def versions(results: Sequence[Result]) -> str:
    """List the versions of this package that measured."""
    return ", ".join(sorted({str(r.environment.get("ssdd_bench", "unknown")) for r in results}))


def build_method_tables(results: Sequence[Result]) -> list[Table]:
    """Build the tables of protocols with their settings, of weights and of the environment."""
    return [_protocols(results), *_weights(results), _environment(results)]


def merge_alike(texts: Iterable[str]) -> list[str]:
    """Keep the first of texts that differ in their numbers alone, and count the others."""
    alike: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", text), []).append(text)
    return [
        same[0] + (f" (and {len(same) - 1} more with other numbers)" if len(same) > 1 else "")
        for same in alike.values()
    ]


def _protocols(results: Sequence[Result]) -> Table:
    """Build a table with a row per setting and value, and the protocols that have it."""
    by_protocol: dict[str, list[Result]] = {}
    named = zip(results, protocol_names(results), strict=True)
    for one, name in sorted(named, key=lambda pair: is_generation(pair[0])):
        by_protocol.setdefault(name, []).append(one)
    owners: dict[str, dict[str, list[str]]] = {}  # by setting and value
    for owner, mine in by_protocol.items():
        for setting, value in _settings(mine):
            if value:
                owners.setdefault(setting, {}).setdefault(value, []).append(owner)
    rows = [
        (setting, value, "all" if len(mine) == len(by_protocol) else ", ".join(mine))
        for setting, values in owners.items()
        for value, mine in values.items()
    ]
    table = Table("Protocols and settings", "As recorded in the results.", "methods", "methods")
    for heading, texts in zip(
        ("setting", "value", "protocols"), zip(*rows, strict=True), strict=True
    ):
        table.add(heading, texts, numeric=False)
    return table


def _settings(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Yield what the results of one protocol share, and the distinct values of the rest."""
    protocol = results[0].protocol
    yield "sha256", str(protocol.get("sha256", ""))[:16]
    for key, value in protocol.items():
        if key not in ("id", "sha256") and value not in (None, "", [], ()):
            yield key.replace("_", " "), describe(key, value) or _show(value)
    sizes = ((r.resolution, r.data.n, r.data.name, r.data.pixels_sha256[:16]) for r in results)
    yield "data", _join(sizes, "{1} of {2} at {0} px ({3})")
    yield "images left out", _show(sum(len(r.data.skipped) for r in results) or "")
    metrics = [item for r in results for item in r.metrics.items()]
    yield "metric backends", _join(((k, m.backend) for k, m in metrics if m.backend), "{}: {}")
    yield "95% intervals", _join(metric.interval_method for _, metric in metrics)
    generated = [r.generation for r in results if r.generation]
    models = ((one.model, f"{one.params / 1e6:.3g}") for one in generated)
    yield "model", _join(models, "{}, {} M parameters")
    samplers = ((one.sampler, one.steps, counted(one.steps, "step")) for one in generated)
    yield "samplers", _join(samplers, "{0}, {2}")
    yield "guidance scales", _join((one.guidance_scale for one in generated), "{:g}")
    yield "latents scaled", _join(one.statistics for one in generated)
    timed = [r for r in results if r.speed]
    machines = (
        (r.execution.device, r.speed.threads or r.execution.threads, r.execution.dtype)
        for r in timed
        if r.speed
    )
    yield "timed on", _join(machines, "{}, threads: {}, {}")
    speeds = [r.speed for r in timed if r.speed]
    timings = [timing for speed in speeds for timing in (speed.encode, speed.decode)]
    yield "timed batches", _join(timing.batch for timing in timings)
    yield "timed calls", _range([timing.repeats for timing in timings])
    yield "warm-up calls", _range([timing.warmup for timing in timings])
    yield "memory", _join(timing.peak_memory_kind for timing in timings)
    yield "warnings of timing", "; ".join(merge_alike(sorted({s.warning for s in speeds} - {""})))


def _weights(results: Sequence[Result]) -> list[Table]:
    """Build the table of weights files; none where no tokenizer has weights."""
    rows: list[tuple[str, ...]] = sorted(
        {
            (result.tokenizer.id, name, f"{digest[:16]}…", result.tokenizer.licence)
            for result in results
            for name, digest in result.tokenizer.weights.items()
        }
    )
    table = Table("Weights", "", "weights", "methods")
    headings = ("tokenizer", "file", "sha256", "licence")
    for heading, texts in zip(headings, zip(*rows, strict=True), strict=False):
        table.add(heading, texts, numeric=False)
    return [table] if rows else []


def _environment(results: Sequence[Result]) -> Table:
    """Build the table of what is known about the machines, with all distinct values."""
    found: dict[str, set[str]] = {}
    for result in results:
        for key, value in {**result.environment, **asdict(result.execution)}.items():
            found.setdefault(key, set()).add(_show(value))
    table = Table("Environment", "", "environment", "methods")
    table.add("key", sorted(found), numeric=False)
    table.add("values", (_join(found[key]) for key in sorted(found)), numeric=False)
    return table


def _join(values: Iterable[Any], form: str = "{}") -> str:
    """Format the distinct values in their order; a tuple fills several places of ``form``."""
    distinct = sorted({value if isinstance(value, tuple) else (value,) for value in values})
    return "; ".join(form.format(*value) for value in distinct if value != ("",))


def _range(values: Sequence[int]) -> str:
    return " to ".join(dict.fromkeys(map(str, (min(values), max(values))))) if values else ""


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_show, value))
    return value if isinstance(value, str) else json.dumps(value)
