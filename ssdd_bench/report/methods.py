"""Methods: tables of protocols, weights and machines, from the records in the results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.report.frame import is_generation
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
    """Build a table with a row per setting and a column per protocol."""
    by_protocol: dict[tuple[str, str], list[Result]] = {}
    for one in sorted(results, key=is_generation):
        key = (one.protocol["id"], str(one.protocol.get("sha256")))
        by_protocol.setdefault(key, []).append(one)
    ids = [name for name, _ in by_protocol]
    columns = {
        name if ids.count(name) == 1 else f"{name} ({digest[:8]})": dict(_settings(mine))
        for (name, digest), mine in by_protocol.items()
    }
    keys = list(dict.fromkeys(k for one in columns.values() for k, value in one.items() if value))
    table = Table("Protocols and settings", "As recorded in the results.", "methods", "methods")
    table.add("setting", keys, numeric=False)
    for heading, column in columns.items():
        table.add(heading, (column.get(key) for key in keys), numeric=False)
    return table


def _settings(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Yield what the results of one protocol share, and the distinct values of the rest."""
    protocol = results[0].protocol
    yield "sha256", str(protocol.get("sha256", ""))[:16]
    for key, value in protocol.items():
        if key not in ("id", "sha256") and value not in (None, "", [], ()):
            yield key.replace("_", " "), describe(key, value) or _show(value)
    sizes = sorted({(r.resolution, r.data.n, r.data.name, r.data.pixels_sha256) for r in results})
    yield "data", _join(f"{n} of {name} at {px} px ({sha[:16]})" for px, n, name, sha in sizes)
    yield "images left out", _show(sum(len(r.data.skipped) for r in results) or "")
    backends = sorted({(k, m.backend) for r in results for k, m in r.metrics.items() if m.backend})
    yield "metric backends", _join(f"{key}: {backend}" for key, backend in backends)
    intervals = {m.interval_method for r in results for m in r.metrics.values()}
    yield "95% intervals", _join(sorted(intervals - {""}))
    if made := [r.generation for r in results if r.generation]:
        models = sorted({(one.model, one.params) for one in made})
        yield "model", _join(f"{name}, {params / 1e6:.3g} M parameters" for name, params in models)
        yield "samplers", _join(sorted({f"{one.sampler}, {one.steps} steps" for one in made}))
        scales = sorted({one.guidance_scale for one in made})
        yield "guidance scales", _join(f"{scale:g}" for scale in scales)
        yield "latents scaled", _join(sorted({one.statistics for one in made}))
    speeds = [r.speed for r in results if r.speed]
    timings = [timing for speed in speeds for timing in (speed.encode, speed.decode)]
    timed = [r.execution for r in results if r.speed]
    machines = {f"{one.device}, threads: {one.threads}, {one.dtype}" for one in timed}
    yield "timed on", _join(sorted(machines))
    yield "timed batches", _join(map(str, sorted({timing.batch for timing in timings})))
    yield "timed calls", _range([timing.repeats for timing in timings])
    yield "warm-up calls", _range([timing.warmup for timing in timings])
    yield "memory", _join(sorted({t.peak_memory_kind for t in timings} - {""}))
    yield "warnings of timing", _join(merge_alike(sorted({s.warning for s in speeds} - {""})))


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
    table.add("values", (_join(sorted(found[key])) for key in sorted(found)), numeric=False)
    return table


def _join(texts: Iterable[str]) -> str:
    return "; ".join(texts)


def _range(values: Sequence[int]) -> str:
    return " to ".join(dict.fromkeys(map(str, (min(values), max(values))))) if values else ""


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_show, value))
    return value if isinstance(value, str) else json.dumps(value)
