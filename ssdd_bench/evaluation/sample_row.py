"""Rows of generated images: their label, default metrics, and departures from the protocol."""

from __future__ import annotations

from collections.abc import Iterator

from ssdd_bench.errors import counted
from ssdd_bench.evaluation.reference import Reference
from ssdd_bench.metrics.catalog import default_metrics, find_metrics
from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.protocols.schema import GenerationProtocol
from ssdd_bench.results.schema import GeneratedRecord
from ssdd_bench.weights.assets import cached_path


def generated_label(made: GeneratedRecord) -> str:
    """Name a row by what distinguishes it, such as ``ssdd + DiT-nano/1, euler 50, cfg 1.5``."""
    one = made.generation
    parts = [f"{made.tokenizer.label} + {one.model}", f"{one.sampler} {one.steps}"]
    if one.guidance_scale != 1:
        parts.append(f"cfg {one.guidance_scale:g}")
        low, high = one.guidance_interval
        if (low, high) != (0.0, 1.0):
            parts[-1] += f" in {low:g} to {high:g}"
        if one.guided_channels != made.latent.channels:
            parts[-1] += f" on {counted(one.guided_channels, 'channel')}"
    return ", ".join(parts)


def default_sample_metrics(
    protocol: GenerationProtocol, has_labels: bool, reference: Reference
) -> tuple[str, ...]:
    """Return the metrics of a protocol, and the other default ones that can be computed.

    Args:
        protocol: whose metrics come first.
        has_labels: the class of each sample is known.
        reference: that samples are compared with.
    """
    labelled = has_labels and bool(reference.classes)
    known = find_metrics("samples")
    absent: set[tuple[str, ...]] = set()  # One metric says what is missing for all.
    keys = []
    for key in dict.fromkeys((*protocol.metrics, *default_metrics("samples"))):
        info = known[key]
        if (info.needs_labels and not labelled) or info.assets in absent:
            continue
        if not all(map(cached_path, info.assets)):
            absent.add(info.assets)
        keys.append(key)
    return tuple(keys)


def departures(
    made: GeneratedRecord, protocol: GenerationProtocol, reference: Reference
) -> Iterator[str]:
    """Name each setting of the protocol that the samples were not made by."""
    one, name = made.generation, protocol.id
    yield from made.warnings
    sampler = protocol.flow_sampler if one.objective == "flow" else protocol.ddpm_sampler
    if (one.steps, one.sampler) != (protocol.steps, sampler):
        steps = counted(one.steps, "step")
        yield f"{steps} of {one.sampler}; {name}: {protocol.steps} of {sampler}"
    if one.labels != protocol.labels:
        yield f"{one.labels} labels; {name}: {describe('labels', protocol.labels)}"
    if one.guidance_scale != 1:
        channels = protocol.guided_channels
        wanted = made.latent.channels if channels == "all" else min(channels, made.latent.channels)
        if one.guided_channels != wanted:
            yield f"{counted(one.guided_channels, 'guided channel')}; {name} guides {channels}"
        low, high = one.guidance_interval
        if protocol.guidance_interval == "whole" and (low, high) != (0.0, 1.0):
            yield f"guided at times {low:g} to {high:g}; {name} guides at all times"
    if one.statistics != protocol.statistics:
        yield (
            f"latents scaled {one.statistics}; {name}: "
            f"{describe('statistics', protocol.statistics)}"
        )
    if not reference.moments:
        yield (
            f"compared with images of {reference.name}; {name}: "
            f"{describe('reference', protocol.reference)}"
        )
