"""What was done, in words that come from the results' own records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ssdd_bench.results.schema import Result

# Knobs of a protocol in the order of telling; those that a protocol lacks are left out.
_SENTENCES = (
    ("colour", "Images were read as {}."),
    ("crop", "Each was cropped to a square by the rule '{}'."),
    ("reference", "The reference of every score is {}."),
    ("posterior", "Encoders gave the posterior's {}."),
    ("noise", "Noise was drawn as {}."),
    ("decoder_noise", "Decoder noise: {}."),
    ("dtype", "Networks ran in {}."),
    ("quantization", "Outputs became 8-bit by {}."),
    ("psnr", "PSNR: {}."),
    ("ssim", "SSIM: {}."),
    ("frechet", "Fréchet distances: {}."),
    ("inception_score", "Inception score: {}."),
    ("precision_recall", "Precision and recall: {}."),
    ("latents", "Latents: {}."),
    ("labels", "Class labels: {}."),
    ("sampler", "Sampler: {}."),
    ("steps", "Sampling steps: {}."),
    ("guidance", "Guidance: {}."),
)
_TITLE = "SSDD: Single-Step Diffusion Decoder for Efficient Image Tokenization"
CITATION = f"""@article{{ssdd,
  title  = {{{{{_TITLE}}}}},
  author = {{Vallaeys, T. and Verbeek, J. and Cord, M.}},
  year   = {{2025}},
  note   = {{arXiv:2510.04961}}
}}

@misc{{ssdd-bench,
  title  = {{{{ssdd-bench: a benchmark of image tokenizers}}}},
  author = {{{{The ssdd-bench developers}}}},
  note   = {{version {{version}}}}
}}"""


def citation(results: Sequence[Result]) -> str:
    """BibTeX of the paper and of the version of this package that measured."""
    versions = {str(result.environment.get("ssdd_bench", "unknown")) for result in results}
    return CITATION.replace("{version}", ", ".join(sorted(versions)))


def describe_methods(results: Sequence[Result]) -> list[str]:
    """Write one paragraph per protocol, and one on timing where anything was timed."""
    by_protocol: dict[str, list[Result]] = {}
    for result in results:
        by_protocol.setdefault(json.dumps(result.protocol, sort_keys=True), []).append(result)
    paragraphs = [" ".join(_protocol_sentences(mine)) for mine in by_protocol.values()]
    timed = [result for result in results if result.speed]
    if timed:
        paragraphs.append(" ".join(_timing_sentences(timed)))
    return sorted(paragraphs, key=lambda text: text.startswith("Speed"))


def commands(results: Sequence[Result]) -> list[str]:
    """List the commands that made the results, each once."""
    return sorted({result.command for result in results})


def environments(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """List what is known about the machines: each key with its distinct values."""
    keys = sorted({key for result in results for key in result.environment})
    return [
        (key, sorted({_show(r.environment.get(key)) for r in results if key in r.environment}))
        for key in keys
    ]


def weights(results: Sequence[Result]) -> list[tuple[str, str, str, str]]:
    """List weights files: tokenizer, file, sha256 and licence."""
    rows = {
        (result.tokenizer.id, name, digest, result.tokenizer.licence)
        for result in results
        for name, digest in result.tokenizer.weights.items()
    }
    return sorted(rows)


def merge_alike(texts: Iterable[str]) -> list[str]:
    """Keep the first of texts that differ in their numbers alone, and count the others."""
    alike: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", text), []).append(text)
    return [
        same[0] + (f" (and {len(same) - 1} more with other numbers)" if len(same) > 1 else "")
        for same in alike.values()
    ]


def _protocol_sentences(results: Sequence[Result]) -> Iterator[str]:
    protocol = results[0].protocol
    yield f"Protocol {protocol['id']} (sha256 {str(protocol.get('sha256', ''))[:16]})."
    if protocol.get("description"):
        yield f"{protocol['description']}."
    generated = [r for r in results if r.generation or protocol.get("kind") == "generation"]
    what = "generated images against" if generated else "images of"
    sets = {
        f"n = {r.data.n} {what} {r.data.name} at {r.resolution} px (pixels "
        f"{r.data.pixels_sha256[:16]})": r.resolution
        for r in results
    }
    yield f"It was run on {'; '.join(sorted(sets, key=lambda text: (sets[text], text)))}."
    for knob, sentence in _SENTENCES:
        value = protocol.get(knob)
        if value not in (None, ""):
            yield sentence.format(_show(value))
    switches = {"tf32": "TensorFloat-32", "autocast": "autocast"}
    states = [
        f"{name} {'off' if not protocol[key] else _show(protocol[key])}"
        for key, name in switches.items()
        if key in protocol
    ]
    if states:
        yield f"Settings: {', '.join(states)}."
    backends = _backends(results)
    if backends:
        yield "Metrics by " + "; ".join(f"{key}: {text}" for key, text in backends.items()) + "."
    methods = {m.interval_method for r in results for m in r.metrics.values() if m.interval_method}
    if methods:
        yield f"95% intervals over images: {', '.join(sorted(methods))}."
    for one in generated:
        if record := one.generation:
            yield (
                f"{one.tokenizer.label}: {record.model} with {record.params / 1e6:.3g} million "
                f"parameters, {record.sampler}, {record.steps} steps, guidance "
                f"{record.guidance_scale:g}, latents scaled by {record.statistics}."
            )
    skipped = sum(len(result.data.skipped) for result in results)
    if skipped:
        yield f"{skipped} images could not be decoded and are left out."


def _timing_sentences(results: Sequence[Result]) -> Iterator[str]:
    speeds = [result.speed for result in results if result.speed]
    timings = [timing for speed in speeds for timing in (speed.encode, speed.decode)]
    machines = sorted({f"{s.device}, {s.threads} thread{_s(s.threads)}, {s.dtype}" for s in speeds})
    batches = ", ".join(str(batch) for batch in sorted({timing.batch for timing in timings}))
    repeats = [timing.repeats for timing in timings]
    warmups = sorted({timing.warmup for timing in timings})
    yield f"Speed: encoding and decoding timed apart on {'; '.join(machines)}, batch {batches}."
    yield (f"Median of {_range(repeats)} calls after {', '.join(map(str, warmups))} to warm up.")
    kinds = sorted({t.peak_memory_kind for t in timings if t.peak_memory_kind})
    if kinds:
        yield f"Memory: {', '.join(kinds)}."
    warned = merge_alike(sorted({s.warning for s in speeds if s.warning}))
    if warned:
        yield f"Warnings: {'; '.join(warned)}."


def _backends(results: Sequence[Result]) -> Mapping[str, str]:
    found: dict[str, set[str]] = {}
    for result in results:
        for key, metric in result.metrics.items():
            if metric.backend:
                found.setdefault(key, set()).add(metric.backend)
    return {key: " / ".join(sorted(texts)) for key, texts in sorted(found.items())}


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
