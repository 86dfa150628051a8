"""Score reconstructions that were made elsewhere: pairs of images in place of a tokenizer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssdd_bench.data.archives import NpzImages
from ssdd_bench.data.images import open_images
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.environment import (
    choose_device,
    describe_environment,
    describe_execution,
    hide_home,
)
from ssdd_bench.evaluation.measure import save_scores
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import (
    DataRecord,
    LatentRecord,
    Result,
    TokenizerRecord,
)
from ssdd_bench.results.store import result_path, save_result

LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class ScorePlan:
    """What to compare, and how.

    Attributes:
        reference: the originals, as :func:`ssdd_bench.data.images.open_images` takes them.
        reconstruction: the reconstructions, likewise.
        out: folder of the result.
        resolution: side in pixels; the protocol's crop is applied to the originals. None: both
            sides are compared as they are, square and of one size.
        protocol: id of a protocol of reconstructions.
        metrics: keys; empty for those of the protocol.
        label: name in tables; by default the name of the reconstructions.
        device: of the metrics' networks.
        strict: a metric that cannot be had is an error.
        intervals: of Fréchet distances too.
        command: what the user typed.
    """

    reference: Path
    reconstruction: Path
    out: Path
    resolution: int | None = None
    protocol: str = "default-v1"
    metrics: tuple[str, ...] = ()
    label: str = ""
    device: str = "auto"
    strict: bool = False
    intervals: bool = False
    command: str = ""


def score(
    plan: ScorePlan, on_images: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Result, Path]:
    """Measure and save; nothing is written before every image was seen.

    Args:
        plan: what to compare.
        on_images: told how many images are done, and of how many.

    Returns:
        The result and its file.

    Raises:
        DataError: the two sets do not match, or an image has another size or cannot be decoded.
        UserError: a name is unknown, a metric is missing with ``strict``, or nothing can be
            written.
    """
    started = time.perf_counter()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    protocol = get_protocol(plan.protocol)
    device = choose_device(plan.device)
    reference, reconstruction = open_images(plan.reference), open_images(plan.reconstruction)
    pairs = match(reference, reconstruction)
    hashes = hashlib.sha256(), hashlib.sha256()
    resolution = plan.resolution or min(reconstruction.read_named(pairs[0][1]).size)
    crop = CROPS[protocol.crop] if plan.resolution else None
    with MetricSuite(
        plan.metrics or protocol.metric_keys,
        device,
        protocol.metric_batch,
        protocol.metric_options,
        plan.strict,
        plan.intervals,
    ) as suite:
        for done, (image_id, other_id) in enumerate(pairs, start=1):
            original = _read(reference, image_id, resolution, crop)
            restored = _read(reconstruction, other_id, resolution, None)
            for digest, image in zip(hashes, (original, restored), strict=True):
                digest.update(image.numpy().tobytes())
            suite.add_pairs([image_id], original[None], restored[None])
            on_images(done, len(pairs))
        scores = suite.compute()
    ids = [image_id for image_id, _ in pairs]
    data = DataRecord(reference.name, len(pairs), fingerprint(ids), hashes[0].hexdigest())
    result = Result(
        tokenizer=describe_foreign(
            "reconstructions", plan.label or reconstruction.name, stochastic=False
        ),
        resolution=resolution,
        protocol=protocol.record(),
        seed=0,
        steps=None,
        latent=LatentRecord("unknown", 0, 0, None, None, None, None),
        data=data,
        metrics=dict(scores.values),
        speed=None,
        execution=describe_execution(device),
        environment=describe_environment(device),
        command=hide_home(plan.command),
        created=created,
        seconds=time.perf_counter() - started,
        fingerprint=fingerprint([data.pixels_sha256, hashes[1].hexdigest(), protocol.sha256]),
        warnings=tuple(_warnings(reference, reconstruction, plan.resolution)),
    )
    name = result_path(plan.out, plan.label, resolution, protocol.id, result.fingerprint).stem
    path = Path("scores") / f"{name}.parquet"
    save_scores(scores.per_image, ids, plan.out / path)
    result = replace(result, scores=path.as_posix())
    return result, save_result(result, plan.out)


def match(reference: ImageSource, reconstruction: ImageSource) -> list[tuple[str, str]]:
    """Pair the ids of two sets by name without the suffix, or by position where one is an array.

    Raises:
        DataError: a name stands for two images, or an image has no counterpart.
    """
    arrays = [isinstance(source, NpzImages) for source in (reference, reconstruction)]
    if any(arrays) and not all(arrays):
        if len(reference) != len(reconstruction):
            raise DataError(_differ(reference, reconstruction))
        return list(zip(reference.ids, reconstruction.ids, strict=True))
    names = _by_name(reference), _by_name(reconstruction)
    if lonely := sorted(names[0].keys() ^ names[1].keys()):
        side = reference if lonely[0] in names[0] else reconstruction
        raise DataError(
            f"{_differ(reference, reconstruction)}: {len(lonely)} have no counterpart, first "
            f"'{lonely[0]}' in {side.name}"
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


def _differ(reference: ImageSource, reconstruction: ImageSource) -> str:
    return (
        f"{reference.name} has {len(reference)} images and {reconstruction.name} "
        f"{len(reconstruction)}"
    )


def _read(
    source: ImageSource,
    image_id: str,
    resolution: int,
    crop: Callable[..., np.ndarray] | None,
) -> Tensor:
    """One image as uint8 (3, resolution, resolution)."""
    image = source.read_named(image_id)
    if crop is None and image.size != (resolution, resolution):
        raise DataError(
            f"{source.name}: {image_id} has {image.width} x {image.height} px, not {resolution} x "
            f"{resolution}: reconstructions are scored at their own size; give --res to crop the "
            "originals"
        )
    pixels = np.array(image if crop is None else crop(image, resolution))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _warnings(
    reference: ImageSource, reconstruction: ImageSource, resolution: int | None
) -> Iterator[str]:
    for source, what in ((reconstruction, "reconstructions"), (reference, "originals")):
        cropped = source is reference and resolution
        if not cropped and any(name.lower().endswith(LOSSY) for name in source.ids):
            yield f"{what} are JPEG files: the scores include that loss, so store PNG"


def describe_foreign(
    kind: Literal["reconstructions", "samples"], label: str, stochastic: bool
) -> TokenizerRecord:
    """What there is to say of a system that is no plugin.

    Args:
        kind: what it made: ``reconstructions`` or ``samples``.
        label: its name in tables.
        stochastic: whether another run of it would give other images.
    """
    return TokenizerRecord(
        label=label,
        id=kind,
        options={},
        title=label,
        family=kind,
        role=kind,
        licence="",
        version="",
        note=f"{kind} made elsewhere",
        stochastic=stochastic,
        weights={},
        params_encoder=0,
        params_decoder=0,
    )
