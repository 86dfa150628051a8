"""Evaluate generated images against a reference set: gFID and the metrics beside it.

Samples have no counterparts among the references: the two sets may differ in number, and the
reference may be moments of a training set, as ADM's npz files hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.memory import Images, as_source, to_tensor
from ssdd_bench.data.npz import read_labels
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import map_ahead
from ssdd_bench.errors import DataError, UserError
from ssdd_bench.evaluation.environment import choose_device, choose_workers, describe_execution
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.loading import describe_external
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.evaluation.reference import Reference
from ssdd_bench.evaluation.result import Evaluation, Provenance
from ssdd_bench.metrics.catalog import default_metrics, find_metrics, metric_keys
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.protocols.registry import find_protocol
from ssdd_bench.protocols.schema import GenerationProtocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord, GeneratedRecord, LatentRecord, Result
from ssdd_bench.results.store import load_saved, read_generated, result_path
from ssdd_bench.weights.assets import cached_path

GROUP = 64
"""Images in memory at a time."""


def evaluate_samples(
    samples: Images,
    reference: Images,
    *,
    protocol: str | GenerationProtocol = "gfid-v1",
    metrics: str | Sequence[str] | None = None,
    limit: int | None = None,
    label: str = "",
    device: str | torch.device = "auto",
    strict: bool = False,
    workers: int | None = None,
    progress: bool = True,
    out: Path | str | None = None,
    force: bool = False,
    command: str = "",
) -> Evaluation:
    """Score generated images against a reference set; the two are not paired.

    Args:
        samples: see :func:`ssdd_bench.data.memory.as_source`; or a folder that ``ssdd-bench gen
            sample`` has filled, whose record then says how the samples were made. Square, of one
            size.
        reference: images, likewise, or an npz with moments.
        protocol: id of a protocol of generation, or an object.
        metrics: keys of metrics of samples; by default those of the protocol and the other
            default ones.
        limit: number of reference images to use; None for all.
        label: name in tables; by default from how the samples were made, or their name.
        device: of the metrics' networks: ``auto``, or as torch names it.
        strict: an unavailable metric is an error.
        workers: threads that read images, see :func:`ssdd_bench.evaluate`.
        progress: True shows a bar on standard error.
        out: save the result into this folder, unless a complete one is there.
        force: True evaluates again what is in ``out``.
        command: that the user typed, for the record.

    Raises:
        UserError: a name is unknown, an image cannot be read, or a metric is unavailable with
            ``strict``; nothing is written then.

    Example:
        >>> images = torch.rand(4, 3, 32, 32)
        >>> evaluate_samples(images, images, metrics=["fd_effnet"]).metrics["fd_effnet"].value
        0.0
    """
    if isinstance(protocol, str):
        protocol = _find_protocol(protocol)
    chosen = choose_device(device)
    provenance = Provenance(chosen, command)
    made, images, labels = _open(samples)
    against = Reference(reference, limit)
    keys = metric_keys(metrics) or _default_metrics(protocol, labels is not None, against)
    side = min(images.read_named(images.ids[0]).size)
    label = label or (_label(made) if made else images.name)
    seed = made.seed if made else 0
    identity = fingerprint(
        [data_fingerprint(images), against.identity(), side, protocol.sha256, label, seed]
    )
    if out is not None and not force:
        path = result_path(Path(out), label, side, protocol.id, identity)
        old = load_saved(path, identity)
        if old is not None and _is_complete(old, keys):
            kept = {one.name: getattr(old, one.name) for one in fields(Result)}
            return Evaluation(**kept, path=path)
    if not against.matches(made.classes if made else ()):
        labels = None
    total = len(images) + against.count
    with (
        MetricSuite(keys, chosen, strict=strict, kind="samples", moments=against.moments) as suite,
        progress_bar(label, total, quiet=not progress) as bar,
    ):
        threads = choose_workers(workers, chosen, has_networks=False)
        _add_samples(suite, images, labels, side, threads, bar.images_done)
        reference_hash = against.add_to(suite, side, threads, bar.images_done)
        scores = suite.compute()
    evaluation = Evaluation(
        tokenizer=replace(made.tokenizer, label=label)
        if made
        else describe_external("samples", label, stochastic=True),
        resolution=side,
        protocol=protocol.record(),
        seed=seed,
        steps=made.decoder_steps if made else None,
        latent=made.latent if made else LatentRecord("unknown", 0, 0, *(None,) * 4),
        data=DataRecord(against.name, len(images), fingerprint(images.ids), reference_hash),
        metrics=dict(scores.values),
        speed=None,
        execution=made.execution if made else describe_execution(chosen),
        fingerprint=identity,
        warnings=tuple(_departures(made, protocol, against) if made else ()),
        generation=made.generation if made else None,
        **provenance.fields(),
    )
    return evaluation if out is None else replace(evaluation, path=evaluation.save(out))


def _find_protocol(protocol_id: str) -> GenerationProtocol:
    found = find_protocol(protocol_id)
    if not isinstance(found, GenerationProtocol):
        raise UserError(f"protocol '{found.id}' is for reconstructions: choose gfid-v1 or adm-v1")
    return found


def _open(
    samples: Images,
) -> tuple[GeneratedRecord | None, ImageSource, NDArray[np.int64] | None]:
    """Return the record of how samples were made, if there is one, the samples and their labels.

    Raises:
        UserError: the folder was not filled to its end.
    """
    if not isinstance(samples, str | Path):
        return None, as_source(samples), None
    path = Path(samples)
    made = read_generated(path) if path.is_dir() else None
    if made is None and (path / "batches" / "config.json").is_file():
        raise UserError(
            f"{path} is not finished: run `ssdd-bench gen sample` again, without --shard"
        )
    path = path / "samples.npz" if made else path
    return made, as_source(path), read_labels(path)


def _is_complete(old: Result, keys: Sequence[str]) -> bool:
    return all(key in old.metrics and not old.metrics[key].unavailable for key in keys)


def _add_samples(
    suite: MetricSuite,
    samples: ImageSource,
    labels: NDArray[np.int64] | None,
    resolution: int,
    workers: int,
    on_images: Callable[[int], None],
) -> None:
    """Add samples to a suite as they are, without a crop; ``DataError`` names another size."""

    def read(image_id: str) -> Tensor:
        image = samples.read_named(image_id)
        if image.size != (resolution, resolution):
            raise DataError(
                f"{samples.name}: {image_id} has {image.width} x {image.height} px, expected "
                f"{resolution} x {resolution}: samples are scored at one size, without a crop"
            )
        return to_tensor(image)

    images = map_ahead(read, samples.ids, workers)
    for start in range(0, len(samples), GROUP):
        part = slice(start, start + GROUP)
        classes = None if labels is None else labels[part].tolist()
        group = torch.stack(list(islice(images, GROUP)))
        suite.add_samples(samples.ids[part], group, classes)
        on_images(len(group))


def _default_metrics(
    protocol: GenerationProtocol, has_labels: bool, reference: Reference
) -> tuple[str, ...]:
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
    """Name a row by what distinguishes it, such as ``ssdd + DiT-nano/1, euler 50, cfg 1.5``."""
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
