"""Encode a data set into a folder of latents, shard after shard; finished shards are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.api import Tokenizer
from ssdd_bench.api.formats import tf32
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.data.latents import LatentsConfig, LatentsRecord, shard_facts, shard_path
from ssdd_bench.data.loader import Batch, ImageLoader
from ssdd_bench.data.source import ImageSource, class_names
from ssdd_bench.data.statistics import ChannelStats, ChannelSums
from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.environment import choose_workers, hide_home
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.evaluation.settings import check_resolution
from ssdd_bench.generation.identity import encoder_sha256
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.fingerprint import fingerprint

CPU_BATCH = 16
"""Images per call on a CPU, where the rounding of results depends on it."""
LEAST_STD = 1e-6


def configure_latents(
    source: ImageSource,
    loaded: LoadedTokenizer,
    resolution: int,
    flips: bool = True,
    posterior: str = "mode",
    seed: int = 0,
) -> LatentsConfig:
    """Describe the latents of a data set before they are encoded.

    Raises:
        UserError: the resolution is no multiple of f, the tokenizer has no continuous latents, or
            only some images lie in class folders.
    """
    tokenizer, record = loaded.tokenizer, loaded.record
    check_resolution(tokenizer, resolution)
    return LatentsConfig(
        tokenizer=record.label,
        encoder_sha256=encoder_sha256(loaded),
        weights=dict(record.weights),
        f=tokenizer.latent.f,
        channels=tokenizer.latent.channels,
        resolution=resolution,
        crop="adm",
        posterior=posterior,
        seed=seed,
        flips=flips,
        data=source.name,
        n=len(source),
        ids_sha256=fingerprint(source.ids),
        classes=tuple(sorted(set(class_names(source.ids)))),
    )


def encode_latents(
    source: ImageSource,
    tokenizer: Tokenizer,
    config: LatentsConfig,
    out: Path,
    device: torch.device,
    batch_size: int = CPU_BATCH,
    shard: tuple[int, int] = (0, 1),
    command: str = "",
    progress: bool = False,
) -> LatentsRecord | None:
    """Encode the images that are not on disk yet, then compute the statistics.

    Args:
        source: the images.
        tokenizer: on ``device``, in evaluation mode.
        config: from :func:`configure_latents` of the same.
        out: folder.
        device: of the tokenizer.
        batch_size: images per call on a GPU; a CPU takes :data:`CPU_BATCH`.
        shard: (i, n) encodes every n-th file from the i-th, for several processes; a run with
            (0, 1) fills in what is missing and computes the statistics.
        command: as typed by the user.
        progress: True shows a bar on standard error.

    Returns:
        The record that was written to ``latents.json``; None for one shard of several.

    Raises:
        UserError: ``out`` holds other latents, or a channel is constant. Nothing was encoded in
            the first case.
        DataError: an image cannot be decoded.
        PluginError: the latents have another shape than described, or are not finite.
    """
    key = fingerprint(asdict(config))
    number = {name: label for label, name in enumerate(config.classes)}
    ids: dict[int, tuple[str, ...]] = {}  # of the shards that are not there
    done = 0
    for index in range(shard[0], config.shards, shard[1]):
        chosen = source.ids[index * config.shard_images : (index + 1) * config.shard_images]
        found = shard_facts(shard_path(out, index)).get("config")
        if found is None:
            ids[index] = chosen
        elif found == key:
            done += len(chosen)
        else:
            raise UserError(
                f"{out} holds latents of other images, options or weights: choose another "
                "--out, or delete it"
            )
    loader = _loader(source, ids, tokenizer, config, device, batch_size)
    with progress_bar("latents", config.n // shard[1], quiet=not progress) as bar:
        bar.images_done(done)
        batches = iter(loader)
        for index, chosen in ids.items():
            tensors, sums = _encode(batches, len(chosen), tokenizer, config, device)
            labels = [number[name] for name in class_names(chosen)]
            tensors["labels"] = torch.tensor(labels, dtype=torch.int64)
            _save(shard_path(out, index), tensors, {"config": key, **sums})
            bar.images_done(len(chosen))
    if shard[1] > 1:
        return None
    statistics, pixels = _statistics(out, config)
    record = LatentsRecord(
        config=config,
        statistics=statistics,
        pixels=pixels,
        command=hide_home(command),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_json(out / "latents.json", asdict(record))
    return record


def _loader(
    source: ImageSource,
    ids: dict[int, tuple[str, ...]],
    tokenizer: Tokenizer,
    config: LatentsConfig,
    device: torch.device,
    batch_size: int,
) -> ImageLoader:
    """Load the images of several shards one after another; no batch has images of two shards."""
    on_gpu = device.type == "cuda"
    return ImageLoader(
        source,
        config.resolution,
        config.crop,
        batch_size if on_gpu else CPU_BATCH,
        strict=True,
        workers=choose_workers(None, device, bool(tokenizer.networks())),
        pin=on_gpu,
        groups=list(ids.values()),
    )


@torch.inference_mode()
@tf32(False)
def _encode(
    batches: Iterator[Batch],
    count: int,
    tokenizer: Tokenizer,
    config: LatentsConfig,
    device: torch.device,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Encode the next ``count`` images.

    Returns:
        Latents by name; and sums by channel, of values and squares, for the statistics.
    """
    found: dict[str, list[Tensor]] = {"latents": []}
    if config.flips:
        found["latents_flip"] = []
    sums = torch.zeros(2, 3, dtype=torch.int64, device=device)
    done = 0
    while done < count:
        batch = next(batches)
        done += len(batch)
        pixels = batch.images.to(device, non_blocking=True)
        sums += pixel_sums(pixels)
        for name, parts in found.items():
            mirrored = name.endswith("flip")
            images = pixels.flip(-1) if mirrored else pixels
            key = "encode flip" if mirrored else "encode"
            sampled = config.posterior == "sample"
            noise = KeyedNoise(config.seed, batch.ids, key) if sampled else None
            data = tokenizer.encode(images.float() / 255, noise).data
            expected = (len(batch), config.channels, config.side, config.side)
            if not isinstance(data, Tensor) or data.shape != expected:
                given = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
                raise PluginError(
                    f"encode returned {given}, expected latents of shape {expected}: fix the plugin"
                )
            if not torch.isfinite(data).all():
                raise PluginError(
                    f"NaN or infinite latents among {batch.ids[0]} to {batch.ids[-1]}: check the "
                    "encoder's weights"
                )
            parts.append(data.float().cpu())
    latents = {name: torch.cat(parts).contiguous() for name, parts in found.items()}
    latent_sums = [ChannelSums.of(one.numpy()).sums.tolist() for one in latents.values()]
    return latents, {"latents": latent_sums, "pixels": sums.tolist()}


def pixel_sums(pixels: Tensor) -> Tensor:
    """Sum uint8 pixels (B, 3, H, W) and their squares by channel: int64 (2, 3), exact."""
    squares = pixels.to(torch.int32).square()
    return torch.stack([x.sum((0, 2, 3), dtype=torch.int64) for x in (pixels, squares)])


def _statistics(folder: Path, config: LatentsConfig) -> tuple[ChannelStats, ChannelStats]:
    """Compute the statistics of the latents, and those of the images' colours in [0, 1]."""
    facts = [shard_facts(shard_path(folder, shard)) for shard in range(config.shards)]
    count = config.n * (2 if config.flips else 1)
    parts = (np.array(sums) for one in facts for sums in one["latents"])
    latent_sums = sum(parts, np.zeros((2, config.channels)))
    latents = ChannelSums(count, count * config.side**2, latent_sums).stats(ddof=1)
    if min(latents.std) < LEAST_STD:
        raise UserError(
            f"{folder}: latent channel {int(np.argmin(latents.std))} is constant: use more "
            "images, or another tokenizer"
        )
    pixel_sums = sum((np.array(one["pixels"]) for one in facts), np.zeros((2, 3)))
    pixels = ChannelSums(config.n, config.n * config.resolution**2, pixel_sums)
    return latents, pixels.stats(scale=255)


def _save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    # One entry, since safetensors writes several in random order.
    metadata = {"ssdd-bench": json.dumps(facts, sort_keys=True)}
    write_atomically(path, lambda target: save_file(tensors, target, metadata=metadata))
