"""Score generated images against a reference set: gFID and its company.

Unlike reconstructions, samples have no originals: the two sets may differ in number, and the
reference may be moments of a training set, as ADM's npz files hold them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import read_labels
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.environment import (
    choose_device,
    describe_environment,
    describe_execution,
    hide_home,
)
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.pairs import describe_foreign
from ssdd_bench.evaluation.reference import Reference
from ssdd_bench.evaluation.sample_metrics import add_reference, add_samples, labels_match
from ssdd_bench.metrics.catalog import default_metrics, find_metrics
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.protocols.registry import find_protocol
from ssdd_bench.protocols.schema import GenerationProtocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.samples import GeneratedRecord, read_generated
from ssdd_bench.results.schema import DataRecord, LatentRecord, Result
from ssdd_bench.results.store import load_results, result_path, save_result
from ssdd_bench.weights.cache import cached_path


@dataclass(frozen=True)
class GenerationScorePlan:
    """What to score, and how.

    Attributes:
        samples: an npz, a folder of images, or a folder that ``ssdd-bench gen sample`` has filled.
        reference: images, as :func:`ssdd_bench.data.images.open_images` takes them, or an npz
            with moments.
        out: folder of the result.
        protocol: id of a protocol of generation.
        metrics: keys of metrics of samples; empty for those of the protocol and the other default
            ones.
        limit: reference images to use; None for all.
        label: name in tables; by default from how the samples were made, or their file's name.
        device: of the metrics' networks.
        strict: a metric that cannot be had is an error.
        force: measure again what is there already.
        command: what the user typed.
    """

    samples: Path
    reference: Path
    out: Path
    protocol: str = "gfid-v1"
    metrics: tuple[str, ...] = ()
    limit: int | None = None
    label: str = ""
    device: str = "auto"
    strict: bool = False
    force: bool = False
    command: str = ""


def score_generated(
    plan: GenerationScorePlan, on_images: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Result, Path]:
    """Measure and save.

    Args:
        plan: what to score.
        on_images: told how many images of both sides are done, and of how many.

    Returns:
        The result and its file.

    Raises:
        UserError: a name is unknown, an image cannot be read, or a metric is missing with
            ``strict``; nothing is written then.
    """
    started = time.perf_counter()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    protocol = find_protocol(plan.protocol)
    if not isinstance(protocol, GenerationProtocol):
        raise UserError(f"protocol '{protocol.id}' is for reconstructions: take gfid-v1 or adm-v1")
    device = choose_device(plan.device)
    made = read_generated(plan.samples) if plan.samples.is_dir() else None
    if made is None and (plan.samples / "batches" / "config.json").is_file():
        raise UserError(
            f"{plan.samples} is not finished: run `ssdd-bench gen sample` again, without --shard"
        )
    path = plan.samples / "samples.npz" if made else plan.samples
    samples = open_images(path)
    reference = Reference(plan.reference, plan.limit)
    keys = plan.metrics or _default_metrics(protocol, path, reference)
    resolution = min(samples.read_named(samples.ids[0]).size)
    label = plan.label or (_label(made) if made else samples.name)
    seed = made.seed if made else 0
    identity = fingerprint(
        [data_fingerprint(samples), reference.identity(), resolution, protocol.sha256, label, seed]
    )
    kept = result_path(plan.out, label, resolution, protocol.id, identity)
    if kept.is_file() and not plan.force:
        (old,) = load_results([kept])
        if old.fingerprint == identity and all(
            key in old.metrics and not old.metrics[key].unavailable for key in keys
        ):
            return old, kept
    total = len(samples) + (len(reference.images) if reference.images else 0)
    seen = 0

    def count(images: int) -> None:
        nonlocal seen
        seen += images
        on_images(seen, total)

    labels = read_labels(path) if labels_match(made.classes if made else (), reference) else None
    with MetricSuite(
        keys, device, strict=plan.strict, kind="samples", moments=reference.moments
    ) as suite:
        add_samples(suite, samples, labels, resolution, count)
        reference_hash = add_reference(suite, reference, resolution, count)
        values = dict(suite.compute().values)
    data = DataRecord(reference.name, len(samples), fingerprint(samples.ids), reference_hash)
    result = Result(
        tokenizer=replace(made.tokenizer, label=label)
        if made
        else describe_foreign("samples", label, stochastic=True),
        resolution=resolution,
        protocol=protocol.record(),
        seed=seed,
        steps=made.decoder_steps if made else None,
        latent=made.latent if made else LatentRecord("unknown", 0, 0, *(None,) * 4),
        data=data,
        metrics=values,
        speed=None,
        execution=made.execution if made else describe_execution(device),
        environment=describe_environment(device),
        command=hide_home(plan.command),
        created=created,
        seconds=time.perf_counter() - started,
        fingerprint=identity,
        warnings=tuple(_departures(made, protocol, reference) if made else ()),
        generation=made.generation if made else None,
    )
    return result, save_result(result, plan.out)


def _default_metrics(
    protocol: GenerationProtocol, path: Path, reference: Reference
) -> tuple[str, ...]:
    labelled = read_labels(path) is not None and bool(reference.classes)
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


def _departures(
    made: GeneratedRecord, protocol: GenerationProtocol, reference: Reference
) -> Iterator[str]:
    """Name each setting of the protocol that the samples were not made by."""
    one, name = made.generation, protocol.id
    yield from made.warnings
    sampler = protocol.flow_sampler if one.objective == "flow" else protocol.ddpm_sampler
    if (one.steps, one.sampler) != (protocol.steps, sampler):
        yield f"{one.steps} steps of {one.sampler}; {name}: {protocol.steps} of {sampler}"
    if one.labels != protocol.labels:
        yield f"{one.labels} labels; {name}: {describe('labels', protocol.labels)}"
    if one.guidance_scale != 1:
        channels = protocol.guided_channels
        wanted = made.latent.channels if channels == "all" else min(channels, made.latent.channels)
        if one.guided_channels != wanted:
            yield f"{one.guided_channels} guided channels; {name} guides {channels}"
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


def _label(made: GeneratedRecord) -> str:
    """What distinguishes rows, such as ``ssdd + DiT-nano/1, euler 50, cfg 1.5``."""
    one = made.generation
    parts = [f"{made.tokenizer.label} + {one.model}", f"{one.sampler} {one.steps}"]
    if one.guidance_scale != 1:
        parts.append(f"cfg {one.guidance_scale:g}")
        low, high = one.guidance_interval
        if (low, high) != (0.0, 1.0):
            parts[-1] += f" in {low:g} to {high:g}"
        if one.guided_channels != made.latent.channels:
            parts[-1] += f" on {one.guided_channels} channels"
    return ", ".join(parts)
