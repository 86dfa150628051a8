"""Measure one cell: the quality pass, then the clock, put together as a result record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from ssdd_bench.api import Tokenizer
from ssdd_bench.data.loader import iterate_batches
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import OutputError, ResolutionError
from ssdd_bench.evaluation.environment import describe_execution, hide_home
from ssdd_bench.evaluation.job import Cell
from ssdd_bench.evaluation.reconstruct import Pass, reconstruct
from ssdd_bench.evaluation.timing import measure_speed
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.registry import TokenizerRequest
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord, LatentRecord, Result, TokenizerRecord
from ssdd_bench.weights.files import sha256_file

PerImage = Mapping[str, Mapping[str, float]]  # metric -> id -> score


@dataclass(frozen=True)
class Settings:
    """What all cells of a run share.

    Attributes:
        source: the images.
        batch_size: images per call, for the scores at the most.
        strict: an image that cannot be decoded or a metric that cannot be had is an error.
        intervals: of Fréchet distances too.
        environment: from :func:`ssdd_bench.evaluation.environment.describe_environment`.
        command: what the user typed.
    """

    source: ImageSource
    batch_size: int
    strict: bool
    intervals: bool
    environment: dict[str, Any]
    command: str


def measure_cell(
    cell: Cell,
    tokenizer: Tokenizer,
    record: TokenizerRecord,
    metric_keys: Sequence[str],
    speed: bool,
    settings: Settings,
    device: torch.device,
    cell_hash: str,
    on_images: Callable[[int], None],
    on_stage: Callable[[str], None],
) -> tuple[Result, Pass, PerImage]:
    """Run the quality pass and, if asked for, the speed measurement.

    Args:
        cell: what to measure.
        tokenizer: loaded, on ``device``, in eval mode.
        record: its description for the result.
        metric_keys: which scores.
        speed: whether to time it too.
        settings: shared by all cells.
        device: of the tokenizer.
        cell_hash: fingerprint of the cell.
        on_images: told how many images were finished, after each batch.
        on_stage: told what follows the images.

    Returns:
        The record, the pass with its example images, and the scores of single images.

    Raises:
        ResolutionError: the tokenizer cannot take the resolution; no image was read.
        UserError: see :func:`ssdd_bench.evaluation.reconstruct.reconstruct`.
    """
    check_resolution(tokenizer, cell.resolution)
    started = time.perf_counter()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    loader = iterate_batches(
        settings.source, cell.resolution, cell.protocol.crop, settings.batch_size, settings.strict
    )
    protocol = cell.protocol
    with MetricSuite(
        metric_keys,
        device,
        protocol.metric_batch,
        protocol.metric_options,
        settings.strict,
        settings.intervals,
    ) as suite:
        seen = reconstruct(tokenizer, loader, suite, protocol, cell.seed, device, on_images)
        on_stage("scores")
        scores = suite.compute()
    timed = None
    if speed:
        on_stage("speed")
        timed = measure_speed(
            tokenizer,
            seen.originals,
            settings.batch_size,
            cell.protocol,
            cell.seed,
            device,
            ids=seen.ids[: len(seen.originals)],
        )
    result = Result(
        tokenizer=replace(record, extra={**record.extra, **seen.codes}),
        resolution=cell.resolution,
        protocol=cell.protocol.record(),
        seed=cell.seed,
        steps=tokenizer.steps,
        latent=_latent_record(tokenizer, cell.resolution, seen),
        data=DataRecord(
            name=settings.source.name,
            n=len(seen.ids),
            ids_sha256=fingerprint(seen.ids),
            pixels_sha256=seen.pixels_sha256,
            skipped=tuple(loader.skipped),
        ),
        metrics=dict(scores.values),
        speed=timed,
        execution=describe_execution(device, tokenizer.networks().values(), protocol.number_format),
        environment=settings.environment,
        command=settings.command,
        created=created,
        seconds=time.perf_counter() - started,
        fingerprint=cell_hash,
        warnings=seen.warnings,
    )
    return result, seen, scores.per_image


def check_resolution(tokenizer: Tokenizer, resolution: int) -> None:
    """Refuse a resolution that is not a whole number of latent cells.

    Raises:
        ResolutionError: names the nearest resolutions that fit.
    """
    f = tokenizer.latent.f
    if resolution % f:
        below = resolution - resolution % f
        near = f"{below} or {below + f}" if below else f"{f}"
        raise ResolutionError(f"{resolution} px is not a multiple of f = {f}: take {near}")


def describe_tokenizer(
    info: TokenizerInfo, request: TokenizerRequest, tokenizer: Tokenizer
) -> TokenizerRecord:
    """Say which tokenizer this is, down to the checksums of its weights.

    Raises:
        WeightsError: a weights file that the plugin names cannot be read.
    """
    networks = tokenizer.networks()
    parameters = {
        role: sum(parameter.numel() for parameter in network.parameters())
        for role, network in networks.items()
    }
    options = info.resolve_options(request.options)
    return TokenizerRecord(
        label=hide_home(request.label),
        id=info.id,
        options={k: hide_home(v) if isinstance(v, str) else v for k, v in options.items()},
        title=info.title,
        family=info.family,
        role=info.role,
        licence=info.licence,
        version=info.version,
        note=info.note,
        stochastic=info.stochastic,
        weights={path.name: sha256_file(path) for path in tokenizer.weights},
        params_encoder=parameters.get("encoder", 0),
        params_decoder=parameters.get("decoder", 0),
        extra=tokenizer.info(),
    )


def save_scores(per_image: PerImage, ids: Sequence[str], path: Path) -> None:
    """Write a Parquet file with a row per image: its id, and a column per metric, float64.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = {
        key: pa.array([scores[name] for name in ids], pa.float64())
        for key, scores in per_image.items()
    }
    # A file name that is not valid UTF-8 reaches us with surrogate escapes.
    names = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in ids]
    table = pa.table({"id": pa.array(names, pa.string()), **columns})
    write_atomically(path, lambda target: pq.write_table(table, target))


def save_picture(seen: Pass, path: Path) -> None:
    """Write the first images above their reconstructions as one PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = torch.stack((seen.originals, seen.reconstructions))  # (2, N, 3, H, W)
    _, count, _, height, width = rows.shape
    grid = rows.permute(0, 3, 1, 4, 2).reshape(2 * height, count * width, 3)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid.numpy()).save(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _latent_record(tokenizer: Tokenizer, resolution: int, seen: Pass) -> LatentRecord:
    spec = tokenizer.latent
    shape = spec.shape(resolution, resolution)
    return LatentRecord(
        kind=spec.kind,
        f=spec.f,
        channels=spec.channels,
        shape=shape,
        tokens=shape[1] * shape[2] if shape else None,
        floats_per_pixel=seen.floats_per_pixel,
        bits_per_pixel=seen.bits_per_pixel,
    )
