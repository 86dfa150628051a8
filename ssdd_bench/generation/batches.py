"""Samples of a latent model, batch after batch, on disk: latents first, then decoded images.

A sample depends on the seed and its number, so the number of processes changes nothing. On a CPU,
whose kernels round differently from batch to batch, batches always have the same size and images
are equal to the bit; on a GPU the batch size may change a pixel by one level.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.api import Latent, Tokenizer
from ssdd_bench.api.noise import VERSION, KeyedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.statistics import ChannelSums
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.chunks import Grid
from ssdd_bench.evaluation.execution import DTYPES
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.timing import count_gmac, time_call
from ssdd_bench.generation.latents import CPU_BATCH
from ssdd_bench.generation.model import LatentModel
from ssdd_bench.generation.sampler import SamplerSettings, sample_latents
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.plugins.outputs import check_decoded
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import NumberFormat

Arrays = dict[str, NDArray[Any]]
LabelRule = Literal["equal", "random"]
CLOCK_BATCHES = 4  # that are timed after the others; the first one warms up
SHUFFLE = 2020  # seed of the order of balanced labels, which is the same for every seed


@dataclass(frozen=True)
class SamplesConfig:
    """Samples to generate."""

    out: Path  # folder of the samples
    samples: int  # their number
    seed: int = 0  # of their noise, and of random labels
    labels: LabelRule = "equal"  # rule by which classes are chosen
    settings: SamplerSettings = field(default_factory=SamplerSettings)
    batch_size: int = CPU_BATCH  # samples per call on a GPU; a CPU takes CPU_BATCH
    dtype: NumberFormat = "float32"  # of the model of latents, by autocast; solvers keep float32
    shared: Path | None = None  # folder in which sampled latents are kept for other decoders
    command: str = ""  # as typed by the user

    def grid(self, device: torch.device) -> Grid:
        """Return the batches on a device, as the chunks of a job."""
        return Grid(self.samples, self.batch_size if device.type == "cuda" else CPU_BATCH)


def make_labels(n: int, classes: int, rule: LabelRule, seed: int) -> NDArray[np.int64]:
    """Choose the labels of samples 0 to ``n - 1``, below ``classes``.

    The rule ``equal`` takes as many of each class (the first classes get the rest) in one shuffled
    order; ``random`` takes each uniformly, by a hash of the seed and the sample's number.
    """
    if rule == "equal":
        return np.random.default_rng(SHUFFLE).permutation(np.arange(n) % classes)
    hashes = (hashlib.blake2b(f"{seed}\nlabel\n{i}".encode(), digest_size=8) for i in range(n))
    return np.array([int.from_bytes(one.digest(), "big") % classes for one in hashes], np.int64)


@torch.inference_mode()
def decode_latents(
    model: LatentModel, tokenizer: Tokenizer, latents: Tensor, noise: KeyedNoise
) -> Tensor:
    """Map latents of the network back to the tokenizer's and decode them to (B, 3, H, W)."""
    side = model.resolution
    mapped = model.facts.statistics.denormalise(latents)
    return tokenizer.decode(Latent(mapped, (side, side)), noise)


class SampleBatches:
    """Batches of samples; those on disk are kept.

    Args:
        model: network of latents; it is moved to ``device``.
        loaded: tokenizer on ``device``; its decoder is used.
        config: the samples.
        device: to compute on.
        crowded: True if others compute on the device too: seconds of batches are NaN.

    Attributes:
        labels: of all samples, int64 (n,).
        grid: the batches.
        size: samples in each batch but the last.
        identity: hash of everything that decides the samples.
        guard: of the tokenizer's calls.
    """

    def __init__(
        self,
        model: LatentModel,
        loaded: LoadedTokenizer,
        config: SamplesConfig,
        device: torch.device,
        crowded: bool,
    ) -> None:
        record = loaded.record
        self.model, self.tokenizer, self.record = model, loaded.tokenizer, record
        self.config, self.device = config, device
        self.labels = make_labels(config.samples, model.config.classes, config.labels, config.seed)
        self.grid = config.grid(device)
        self.size = self.grid.size
        self.guard = Guard(record.id)
        self._network = model.network.to(device)
        self._fresh = {"latents": True, "images": True}
        self._crowded = crowded
        latents = {
            "network": sorted(model.weights.values()),
            "objective": model.facts.objective,
            "settings": asdict(config.settings),
            "labels": config.labels,
            "samples": config.samples,
            "seed": config.seed,
            "noise": VERSION,
            "batch": self.size,
            "device": device.type,
            "dtype": config.dtype,
        }
        images = {
            "latents": latents,
            "statistics": asdict(model.facts.statistics),
            "tokenizer": [record.id, record.version, record.options],
            "weights": sorted(record.weights.values()),
        }
        self.identity = fingerprint(images)
        self._batches, self._latents = config.out / "batches", config.out / "latents"
        self._folders = {  # named after what decides their content: others' files stay unread
            "images": self._batches / self.identity[:16],
            "latents": (config.shared or self._latents) / fingerprint(latents)[:16],
        }

    def missing(self) -> tuple[int, ...]:
        """List the numbers of the batches that are not there."""
        numbers = range(len(self.grid))
        return tuple(one for one in numbers if not self._path("images", one).is_file())

    def claim(self) -> None:
        """Mark the folder as that of these samples; ``UserError`` if it holds batches of others."""
        path = self._batches / "config.json"
        if path.is_file() and read_json(path) != {"fingerprint": self.identity}:
            raise other_samples(self.config.out)
        write_json(path, {"fingerprint": self.identity})

    def discard(self) -> None:
        """Delete the batches, but not latents that others share."""
        shutil.rmtree(self._batches, ignore_errors=True)
        if self.config.shared is None:
            shutil.rmtree(self._latents, ignore_errors=True)

    def load(self, number: int) -> Arrays:
        """Return a batch, from disk where it is there.

        It holds ``images`` uint8 (B, H, W, 3), ``latent_sums`` and ``latent_count`` of the latents,
        ``seconds`` of network and decoder, ``fresh``: True for either that had to warm up, and
        ``changed``: the global settings that the tokenizer changed, which were put back.
        """
        return self._kept("images", number, self._sample_and_decode)

    def measure(self, progress: Progress) -> None:
        """Make the first batches again, alone on the device, and keep their seconds."""
        self._crowded = False
        found = []
        for number in range(len(self.grid))[:CLOCK_BATCHES]:
            progress.stage("speed")
            found.append(self._decode(number, self._sample(number)))
        clock = {name: np.stack([one[name] for one in found]) for name in ("seconds", "fresh")}
        write_atomically(self._clock_path, lambda target: _write(target, clock))

    def clock(self) -> Arrays | None:
        """Return ``seconds`` and ``fresh`` of :meth:`measure`, a row for each batch."""
        return _read(self._clock_path)

    @property
    def _clock_path(self) -> Path:
        return self._folders["images"] / "clock.npz"

    def _sample_and_decode(self, number: int) -> Arrays:
        return self._decode(number, self._kept("latents", number, self._sample))

    def _decode(self, number: int, made: Arrays) -> Arrays:
        count = len(self.labels[self.grid.part(number)])
        latents = torch.from_numpy(made["latents"]).to(self.device)
        ids = self._ids(number)
        noise = KeyedNoise(self.config.seed, ids, "decode")
        with self.guard.calls():
            decoded, seconds, fresh = self._timed(
                "images", lambda: decode_latents(self.model, self.tokenizer, latents, noise)
            )
        check_decoded(decoded, (self.size, 3, self.model.resolution, self.model.resolution))
        pixels = to_uint8(decoded, ids).permute(0, 2, 3, 1)[:count].cpu().numpy()
        sums = ChannelSums.of(made["latents"][:count])
        return {
            "images": pixels,
            "latent_sums": sums.sums,
            "latent_count": np.array(sums.count),
            "seconds": np.array([made["seconds"], seconds]),
            "fresh": np.array([made["fresh"], fresh]),
            "changed": np.array(self.guard.changed, np.str_),
        }

    def _sample(self, number: int) -> Arrays:
        ids = self._ids(number)
        labels = torch.from_numpy(self.labels[[int(one) for one in ids]]).to(self.device)
        noise = KeyedNoise(self.config.seed, ids, "sample")
        config, settings = self.model.config, self.config.settings
        latents, seconds, fresh = self._timed(
            "latents", lambda: sample_latents(self._evaluate, config, labels, noise, settings)
        )
        return {
            "latents": latents.cpu().numpy(),
            "seconds": np.array(seconds),
            "fresh": np.array(fresh),
        }

    def _evaluate(self, x: Tensor, clock: Tensor, labels: Tensor) -> Tensor:
        """Evaluate the network in its number format."""
        dtype = self.config.dtype
        with torch.autocast(self.device.type, DTYPES[dtype], enabled=dtype != "float32"):
            found: Tensor = self._network(x, clock, labels)
        return found.float()

    def _ids(self, number: int) -> list[str]:
        """Return the samples of a batch; the last one is padded, so that all have one size."""
        start, end = number * self.size, len(self.labels)
        return [f"{n if n < end else start:08d}" for n in range(start, start + self.size)]

    def _timed(self, kind: str, compute: Callable[[], Tensor]) -> tuple[Tensor, float, bool]:
        """Return a result, its seconds, and True if they include the warm-up of the process.

        Seconds are NaN while others compute on the device too.
        """
        fresh, self._fresh[kind] = self._fresh[kind], False
        made: list[Tensor] = []
        seconds = time_call(lambda: made.append(compute()), self.device)
        return made[0], math.nan if self._crowded else seconds, fresh

    def _kept(self, kind: str, number: int, make: Callable[[int], Arrays]) -> Arrays:
        """Read a batch from its file, which is made where it is missing or damaged."""
        path = self._path(kind, number)
        found = _read(path)
        if found is None:
            found = make(number)
            write_atomically(path, lambda target: _write(target, found))
        return found

    def _path(self, kind: str, number: int) -> Path:
        return self._folders[kind] / f"{number * self.size:08d}.npz"

    @torch.inference_mode()
    def count_work(self) -> tuple[float, float | None]:
        """Count GMAC per image of the network, all its evaluations, and of the decoder."""
        config = self.model.config
        shape = (1, config.channels, config.side, config.side)
        x = torch.zeros(shape, device=self.device)
        one = torch.zeros(1, dtype=torch.int64, device=self.device)
        network = count_gmac(lambda: self._network(x, one.float(), one))
        decoder = None
        if self.tokenizer.networks():
            noise = KeyedNoise(0, ["work"], "decode")
            with self.guard.calls():
                decoder = count_gmac(lambda: decode_latents(self.model, self.tokenizer, x, noise))
        return network * self.config.settings.evaluations(), decoder


def other_samples(out: Path) -> UserError:
    """Return the error for a folder that holds other samples."""
    return UserError(
        f"{out} holds samples of other settings or weights: choose another --out, or delete it"
    )


def _read(path: Path) -> Arrays | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception:  # a damaged file raises errors of many types; the batch is made again
        return None


def _write(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
