"""Latents of a data set on disk: shards of latents and labels, and their statistics.

A folder holds ``shard-00000.safetensors`` and so on, each with ``latents`` and, unless flips were
left out, ``latents_flip`` (float32 NCHW, as the tokenizer gives them) and ``labels`` (int64), and
their checksum; and ``latents.json``, written last, with the statistics that a network of latents is
trained under and its samples are mapped back by. Finished shards are kept, so the same command
resumes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ssdd_bench.data.statistics import ChannelStats
from ssdd_bench.errors import UserError
from ssdd_bench.results.fingerprint import fingerprint, hash_arrays
from ssdd_bench.results.records import read_json, read_record

SCHEMA_VERSION = 3
SHARD_IMAGES = 1024


@dataclass(frozen=True)
class LatentsConfig:
    """Everything that decides the numbers in a folder of latents.

    Attributes:
        tokenizer: label, such as ``klvae`` or ``ssdd:steps=4``.
        encoder_sha256: see :mod:`ssdd_bench.generation.identity`.
        weights: file name and SHA-256 of the tokenizer's weights.
        f: image pixels per latent cell along one side.
        channels: of the latent.
        resolution: side of the crops in pixels.
        crop: name in :data:`ssdd_bench.data.preprocessing.CROPS`.
        posterior: ``mode``, or ``sample``: one sample per image.
        seed: of those samples.
        flips: mirrored images are encoded too.
        data: name of the images.
        n: their number.
        data_sha256: of their ids and some pixels, see
            :func:`ssdd_bench.evaluation.job.data_fingerprint`.
        classes: names, in the order of the labels.
        shard_images: images per shard.
    """

    tokenizer: str
    encoder_sha256: str
    weights: dict[str, str]
    f: int
    channels: int
    resolution: int
    crop: str
    posterior: str
    seed: int
    flips: bool
    data: str
    n: int
    data_sha256: str
    classes: tuple[str, ...]
    shard_images: int = SHARD_IMAGES

    @property
    def side(self) -> int:
        """Number of latent cells along one side."""
        return self.resolution // self.f

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.n // self.shard_images)

    @property
    def key(self) -> str:
        """Return the fingerprint by which shards know that they belong to this folder."""
        return fingerprint(asdict(self))


@dataclass(frozen=True)
class LatentsRecord:
    """Content of ``latents.json``."""

    config: LatentsConfig
    statistics: ChannelStats
    pixels: ChannelStats
    command: str
    created: str
    schema_version: int = SCHEMA_VERSION


class LatentSet:
    """Latents on disk, mapped into memory; ``UserError`` if they are not whole.

    The checksum of a shard is compared when its first latent is read.

    Attributes:
        record: content of ``latents.json``.
        labels: int64 (n,).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_latents(folder)
        config = self.record.config
        key = config.key
        self._shards: list[Any] = []
        self._unchecked = set(range(config.shards))
        for shard in range(config.shards):
            path = shard_path(folder, shard)
            if shard_facts(path).get("config") != key:
                raise _refused(path, "missing, damaged or of other latents")
            self._shards.append(safe_open(path, "np"))
        labels = [shard.get_tensor("labels") for shard in self._shards]
        self.labels: NDArray[np.int64] = np.concatenate(labels)

    def __len__(self) -> int:
        return self.record.config.n

    def batch(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Tensor:
        """Return float32 latents (B, channels, side, side) of images or of their mirror images."""
        size = self.record.config.shard_images
        for shard in self._unchecked.intersection((rows // size).tolist()):
            path = shard_path(self.folder, shard)
            if not is_whole(path):
                raise _refused(path, "damaged, its checksum is another")
            self._unchecked.remove(shard)
        found = [
            self._shards[row // size].get_slice("latents_flip" if flip else "latents")[row % size]
            for row, flip in zip(rows.tolist(), mirrored.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(found))


def _refused(path: Path, problem: str) -> UserError:
    return UserError(f"{path}: {problem}: run the same `ssdd-bench gen encode` again")


def read_latents(folder: Path) -> LatentsRecord:
    """Read the record of a folder of latents; ``UserError`` if it is missing, damaged or old."""
    path = folder / "latents.json"
    if not path.is_file():
        raise UserError(
            f"{path} is missing, and with it the statistics that latents are scaled by: run "
            "`ssdd-bench gen encode` to its end, without --shard"
        )
    data = read_json(path)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version in range(SCHEMA_VERSION):
        raise UserError(
            f"{path}: of an earlier version, which did not look at pixels: run `ssdd-bench gen "
            "encode` with another --out"
        )
    return read_record(LatentsRecord, data, str(path))


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard."""
    return folder / f"shard-{shard:05d}.safetensors"


def shard_facts(path: Path) -> dict[str, Any]:
    """Read the facts that a shard holds besides its tensors; {} if it is none, or is truncated."""
    try:
        with safe_open(path, "np") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["ssdd-bench"])
            return facts
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return {}


def is_whole(path: Path) -> bool:
    """Return True if the tensors of a shard are those that were written, by their checksum."""
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return False
    return shard_facts(path).get("sha256") == hash_arrays(arrays)
