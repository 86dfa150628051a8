"""Encode a data set into a folder of latents, by any number of workers; whole shards are kept."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.api.formats import tf32
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.latents import (
    SHARD_IMAGES,
    LatentsConfig,
    LatentsRecord,
    is_whole,
    shard_facts,
    shard_path,
)
from ssdd_bench.data.loader import Batch, ImageLoader
from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.source import ImageSource, class_names
from ssdd_bench.data.statistics import ChannelStats, ChannelSums
from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.chunks import Grid
from ssdd_bench.evaluation.environment import choose_load_threads, hide_home
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.launch_groups import IN_PROCESS, Files, launch_groups
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer, load_once
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.settings import check_resolution
from ssdd_bench.generation.identity import encoder_sha256
from ssdd_bench.launch.tasks import Group, Opened, Progress, Worker
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.plugins.outputs import check_latent
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.fingerprint import hash_arrays

CPU_BATCH = 16
"""Images per call on a CPU, where the rounding of results depends on it."""
LEAST_STD = 1e-6


@dataclass(frozen=True)
class LatentsPlan:
    """Latents to make.

    Attributes:
        tokenizer: what to load, or loaded already, which no other process can take.
        data: the images; a class is the folder that an image lies in.
        resolution: side of the crops in pixels.
        out: folder.
        limit: use only that many images.
        flips: encode mirrored images too.
        posterior: ``mode``, or ``sample``: one sample per image.
        seed: of those samples.
        batch_size: images per call on a GPU; a CPU takes :data:`CPU_BATCH`.
        shard_images: images in a file.
        max_image_mb: largest image that is decoded, in MB.
        command: as typed by the user.
    """

    tokenizer: str | TokenizerRequest | LoadedTokenizer
    data: Images
    resolution: int
    out: Path
    limit: int | None = None
    flips: bool = True
    posterior: str = "mode"
    seed: int = 0
    batch_size: int = CPU_BATCH
    shard_images: int = SHARD_IMAGES
    max_image_mb: int = MAX_IMAGE_MB
    command: str = ""

    def open(self) -> ImageSource:
        """Open the images."""
        return as_source(self.data, self.limit, max_image_mb=self.max_image_mb)

    def configure(self, source: ImageSource, loaded: LoadedTokenizer) -> LatentsConfig:
        """Describe the latents before they are encoded.

        Raises:
            UserError: the resolution is no multiple of f, the tokenizer has no continuous latents,
                or only some images lie in class folders.
        """
        tokenizer, record = loaded.tokenizer, loaded.record
        check_resolution(tokenizer, self.resolution)
        return LatentsConfig(
            tokenizer=record.label,
            encoder_sha256=encoder_sha256(loaded),
            weights=dict(record.weights),
            f=tokenizer.latent.f,
            channels=tokenizer.latent.channels,
            resolution=self.resolution,
            crop="adm",
            posterior=self.posterior,
            seed=self.seed,
            flips=self.flips,
            data=source.name,
            n=len(source),
            data_sha256=data_fingerprint(source),
            classes=tuple(sorted(set(class_names(source.ids)))),
            shard_images=self.shard_images,
        )


def encode_latents(
    plan: LatentsPlan,
    device: torch.device,
    launch: Launch = IN_PROCESS,
    progress: bool = False,
) -> LatentsRecord | None:
    """Encode the images that are not on disk yet, then compute the statistics.

    Args:
        plan: the latents, and their folder.
        device: of the tokenizer.
        launch: where to compute.
        progress: True shows a bar on standard error.

    Returns:
        The record in ``latents.json``; None for a share that was not the last one, and for every
        rank but the first.

    Raises:
        UserError: ``out`` holds other latents, or a channel is constant. Nothing was encoded in
            the first case.
        DataError: an image cannot be decoded.
        PluginError: the latents have another shape than described, or are not finite.
    """
    source = plan.open()
    group = LatentsGroup(plan, source)
    shard_sizes = Grid(len(source), plan.shard_images).sizes
    found = launch_groups(
        [group],
        [Files(plan.out, "shard-*.safetensors")],
        lambda: {(0, 0): [float(count) for count in shard_sizes]},
        device,
        launch,
        "latents",
        len(source),
        quiet=not progress,
    )
    return found.get((0, 0))


class LatentsGroup(Group[LatentsRecord]):
    """A single job: the latents of one data set, whose images are open; its chunks are shards."""

    def __init__(self, plan: LatentsPlan, source: ImageSource) -> None:
        self.plan = plan
        self._source = source
        self.name = "latents"
        self.jobs = (self.name,)

    def load(self, device: str) -> LatentsWorker:
        """Load the tokenizer onto a device."""
        keep_freed_memory()
        chosen = torch.device(device)
        loaded = load_once(self.plan.tokenizer, chosen)
        return LatentsWorker(self.plan, self._source, loaded, chosen)


class LatentsWorker(Worker[LatentsRecord]):
    """Encodes shards."""

    def __init__(
        self, plan: LatentsPlan, source: ImageSource, loaded: LoadedTokenizer, device: torch.device
    ) -> None:
        self._plan, self._source, self._device = plan, source, device
        self._tokenizer, self._guard = loaded.tokenizer, Guard(loaded.record.id)
        self._config = plan.configure(source, loaded)
        self._key = self._config.key
        self._grid = Grid(self._config.n, self._config.shard_images)

    def open(self, job: int) -> Opened[LatentsRecord]:
        """Look up which shards are there; truncated ones are named and not counted.

        Raises:
            UserError: the folder holds other latents.
        """
        out = self._plan.out
        missing = []
        for index in range(self._config.shards):
            path = shard_path(out, index)
            found = shard_facts(path).get("config")
            if found is None:
                missing.append(index)
                if path.exists():
                    _refuse(path)
            elif found != self._key:
                raise UserError(
                    f"{out} holds latents of other images, options or weights, or of an earlier "
                    "version: choose another --out, or delete it"
                )
        return Opened(self._grid.sizes, tuple(missing))

    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Encode some shards, and save each as soon as it is done."""
        config = self._config
        number = {name: label for label, name in enumerate(config.classes)}
        ids = [self._source.ids[self._grid.part(chunk)] for chunk in chunks]
        batches = iter(self._loader(ids))
        for chunk, chosen in zip(chunks, ids, strict=True):
            tensors, sums = self._encode(batches, len(chosen), progress)
            for text in self._guard.warnings("encoding"):
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            labels = [number[name] for name in class_names(chosen)]
            tensors["labels"] = torch.tensor(labels, dtype=torch.int64)
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            facts = {"config": self._key, "sha256": hash_arrays(arrays), **sums}
            _save(shard_path(self._plan.out, chunk), tensors, facts)
            progress.chunk_done(chunk)

    @torch.inference_mode()
    @tf32(False)
    def _encode(
        self, batches: Iterator[Batch], count: int, progress: Progress
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Encode the next ``count`` images.

        Returns:
            Latents by name; and sums by channel, of values and squares, for the statistics.
        """
        config, tokenizer, device = self._config, self._tokenizer, self._device
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
                with self._guard.calls():
                    latent = tokenizer.encode(images.float() / 255, noise)
                check_latent(tokenizer.latent, latent, images)
                data = cast(Tensor, latent.data)
                if not torch.isfinite(data).all():
                    raise PluginError(
                        f"NaN or infinite latents among {batch.ids[0]} to {batch.ids[-1]}: check "
                        "the encoder's weights"
                    )
                parts.append(data.float().cpu())
            progress.images_done(len(batch))
        latents = {name: torch.cat(parts).contiguous() for name, parts in found.items()}
        latent_sums = [ChannelSums.of(one.numpy()).sums.tolist() for one in latents.values()]
        return latents, {"latents": latent_sums, "pixels": sums.tolist()}

    def _loader(self, ids: Sequence[Sequence[str]]) -> ImageLoader:
        """Load the images of shards one after another; no batch has images of two shards."""
        on_gpu = self._device.type == "cuda"
        return ImageLoader(
            self._source,
            self._config.resolution,
            self._config.crop,
            self._plan.batch_size if on_gpu else CPU_BATCH,
            strict=True,
            threads=choose_load_threads(None, self._device, bool(self._tokenizer.networks())),
            pin=on_gpu,
            groups=ids,
        )

    def time(self, job: int, progress: Progress) -> None:
        """Do nothing: there is no clock."""

    def finish(self, job: int, progress: Progress) -> LatentsRecord:
        """Compute the statistics of all shards, and write ``latents.json``.

        A damaged shard is made again.
        """
        out, config = self._plan.out, self._config
        progress.stage("checksums")
        for index in range(config.shards):
            if not is_whole(path := shard_path(out, index)):
                _refuse(path)
                self.work(job, [index], Progress())
        statistics, pixels = _statistics(out, config)
        record = LatentsRecord(
            config=config,
            statistics=statistics,
            pixels=pixels,
            command=hide_home(self._plan.command),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_json(out / "latents.json", asdict(record))
        return record


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


def _refuse(path: Path) -> None:
    """Name a damaged shard, and delete it."""
    text = f"{path} is damaged; it is made again"
    warnings.warn(text, RuntimeWarning, stacklevel=2)
    path.unlink(missing_ok=True)


def _save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    # One entry, since safetensors writes several in random order.
    metadata = {"ssdd-bench": json.dumps(facts, sort_keys=True)}
    write_atomically(path, lambda target: save_file(tensors, target, metadata=metadata))
