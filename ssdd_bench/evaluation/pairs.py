"""Evaluate reconstructions that were made elsewhere: pairs of images instead of a tokenizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ssdd_bench.arguments import whole
from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import Images, as_source, to_tensor
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import map_ahead
from ssdd_bench.errors import DataError, counted
from ssdd_bench.evaluation.chunks import Grid, PixelDigest
from ssdd_bench.evaluation.environment import (
    choose_device,
    choose_load_threads,
    describe_execution,
    device_of_scores,
)
from ssdd_bench.evaluation.examples import EXAMPLES, Examples
from ssdd_bench.evaluation.loading import describe_external
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.evaluation.result import Evaluation, describe_origin
from ssdd_bench.metrics.catalog import metric_keys
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord, LatentRecord

LOSSY = (".jpg", ".jpeg")


def evaluate_pairs(
    references: Images,
    reconstructions: Images,
    *,
    resolution: int | None = None,
    protocol: str | Path | Protocol = "default-v1",
    metrics: str | Sequence[str] | None = None,
    label: str = "",
    device: str | torch.device = "auto",
    intervals: bool = False,
    strict: bool = False,
    load_threads: int | None = None,
    max_image_mb: int = MAX_IMAGE_MB,
    progress: bool = True,
    command: str = "",
) -> Evaluation:
    """Score reconstructions against their references.

    Images are paired by their ids without the suffix, or by position where one side is an array.

    Args:
        references: see :func:`ssdd_bench.data.memory.as_source`.
        reconstructions: likewise; scored at their own size.
        resolution: crop the references to this side by the protocol's crop. None: both sides are
            compared as they are, square and of one size.
        protocol: id of a protocol of reconstructions, path of a protocol file, or an object.
        metrics: keys; by default those of the protocol.
        label: name in tables; by default the name of the reconstructions.
        device: of the metrics' networks: ``auto``, or as torch names it.
        intervals: True adds intervals of Fréchet distances.
        strict: an unavailable metric is an error.
        load_threads: threads that read images, see :func:`ssdd_bench.evaluate`.
        max_image_mb: largest image file that is decoded, in MB as 8-bit RGB.
        progress: True shows a bar on standard error.
        command: that the user typed, for the record.

    Raises:
        DataError: the two sets do not match, or an image has another size or cannot be decoded.
        UserError: a name is unknown, or a metric is unavailable with ``strict``.

    Examples:
        >>> images = torch.rand(2, 3, 32, 32)
        >>> evaluate_pairs(images, images, metrics=["mse"], progress=False).metrics["mse"].value
        0.0
    """
    protocol = get_protocol(protocol)
    chosen = choose_device(device)
    started, origin = time.perf_counter(), describe_origin(chosen, command)
    ours, theirs = (
        as_source(images, max_image_mb=max_image_mb) for images in (references, reconstructions)
    )
    pairs = match(ours, theirs)
    if resolution is None:
        side = min(theirs.read_named(pairs[0][1]).size)
    else:
        side = whole("resolution", resolution, 1)
    crop = CROPS[protocol.crop] if resolution else None
    pixels = PixelDigest(), PixelDigest()
    examples: list[tuple[Tensor, Tensor]] = []
    new_suite = partial(
        MetricSuite,
        metric_keys(metrics) or protocol.metric_keys,
        chosen,
        protocol.metric_batch,
        protocol.metric_options,
        strict,
        intervals,
        expected=len(pairs),
    )
    grid = Grid.of(len(pairs), whole=protocol.decoder_noise == "ordered")
    with (
        new_suite() as suite,
        new_suite(only_merges=True) as merged,
        progress_bar(label or theirs.name, len(pairs), quiet=not progress) as bar,
    ):

        def read(pair: tuple[str, str]) -> tuple[tuple[Tensor, Tensor], tuple[bytes, ...]]:
            both = _read(ours, pair[0], side, crop), _read(theirs, pair[1], side, None)
            return both, pixel_hashes(torch.stack(both))

        threads = choose_load_threads(load_threads, chosen, has_networks=False)
        read_ahead = map_ahead(read, pairs, threads)
        ends = {grid.part(chunk).stop for chunk in range(len(grid))}
        for place, (both, hashes) in enumerate(read_ahead, 1):
            image_id = pairs[place - 1][0]
            for digest, one in zip(pixels, hashes, strict=True):
                digest.update([image_id], [one])
            suite.add_pairs([image_id], both[0][None], both[1][None], hashes[:1])
            if len(examples) < EXAMPLES:
                examples.append(both)
            if place in ends:  # Sums round by the chunks, so they are those of a run.
                merged.merge(suite.take())
            bar.images_done(1)
        scores = merged.compute()
    ids = tuple(image_id for image_id, _ in pairs)
    return Evaluation(
        tokenizer=describe_external("reconstructions", label or theirs.name, stochastic=False),
        resolution=side,
        protocol=protocol.record(),
        seed=0,
        steps=None,
        latent=LatentRecord("unknown", 0, 0, None, None, None, None),
        data=DataRecord(ours.name, len(pairs), fingerprint(ids), pixels[0].hexdigest()),
        metrics=dict(scores.values),
        speed=None,
        execution=describe_execution(chosen),
        fingerprint=fingerprint(
            [*(one.hexdigest() for one in pixels), protocol.sha256, *device_of_scores(chosen)]
        ),
        warnings=tuple(_warnings(ours, theirs, resolution)),
        per_image=scores.per_image,
        examples=Examples(
            ids[:EXAMPLES], *(torch.stack(images) for images in zip(*examples, strict=True))
        ),
        seconds=time.perf_counter() - started,
        **origin,
    )


def match(references: ImageSource, reconstructions: ImageSource) -> list[tuple[str, str]]:
    """Pair the ids of two sets by name without the suffix, or by position if one has numbers only.

    Raises:
        DataError: a name stands for two images, or an image has no counterpart.
    """
    if references.numbered != reconstructions.numbered:
        if len(references) != len(reconstructions):
            raise DataError(_describe_counts(references, reconstructions))
        return list(zip(references.places, reconstructions.places, strict=True))
    names = _by_name(references), _by_name(reconstructions)
    if unpaired := sorted(names[0].keys() ^ names[1].keys()):
        side = references if unpaired[0] in names[0] else reconstructions
        raise DataError(
            f"{_describe_counts(references, reconstructions)}: {len(unpaired)} have no "
            f"counterpart, first '{unpaired[0]}' in {side.name}"
        )
    return [(image_id, names[1][name]) for name, image_id in names[0].items()]


def _by_name(source: ImageSource) -> dict[str, str]:
    names: dict[str, str] = {}
    for image_id in source.ids:
        name = str(PurePosixPath(image_id).with_suffix(""))
        if name in names:
            raise DataError(f"{source.name} has two images named '{name}': keep one")
        names[name] = image_id
    return names


def _describe_counts(references: ImageSource, reconstructions: ImageSource) -> str:
    return (
        f"{references.name} has {counted(len(references), 'image')} and {reconstructions.name} "
        f"{len(reconstructions)}"
    )


def _read(
    source: ImageSource, image_id: str, resolution: int, crop: Callable[..., Any] | None
) -> Tensor:
    """Read one image as uint8 (3, resolution, resolution)."""
    image = source.read_named(image_id)
    if crop is None and image.size != (resolution, resolution):
        raise DataError(
            f"{source.name}: {image_id} has {image.width} x {image.height} px, expected "
            f"{resolution} x {resolution}: reconstructions are scored at their own size; give that "
            "as --res (resolution=), to which references are cropped"
        )
    return to_tensor(image if crop is None else crop(image, resolution))


def _warnings(
    references: ImageSource, reconstructions: ImageSource, resolution: int | None
) -> Iterator[str]:
    for source, what in ((reconstructions, "reconstructions"), (references, "references")):
        cropped = source is references and resolution
        if not cropped and any(name.lower().endswith(LOSSY) for name in source.ids):
            yield f"{what} are JPEG files: the scores include that loss, so store PNG"
