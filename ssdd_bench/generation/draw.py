"""Draw images: latents from a network, mapped back and decoded, batch after batch on disk.

A sample depends on the seed and its number, so the number of processes changes nothing. On a CPU,
whose kernels round differently from batch to batch, the batches are always the same ones, and the
images equal to the bit; on a GPU the batch size may move a pixel by one level.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.api import Latent, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.statistics import ChannelSums
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.timing import count_gmac
from ssdd_bench.generation.identity import check_encoder
from ssdd_bench.generation.labels import draw_labels
from ssdd_bench.generation.latents import CPU_BATCH
from ssdd_bench.generation.model import LatentModel
from ssdd_bench.generation.sampler import draw_latents
from ssdd_bench.generation.samples import DrawPlan, put_together
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import read_json
from ssdd_bench.results.samples import GeneratedRecord, read_generated
from ssdd_bench.results.schema import TokenizerRecord

Arrays = dict[str, NDArray[Any]]


def draw_samples(
    model: LatentModel,
    tokenizer: Tokenizer,
    record: TokenizerRecord,
    plan: DrawPlan,
    device: torch.device,
    on_images: Callable[[int], None] = lambda count: None,
) -> GeneratedRecord | None:
    """Draw what is not on disk yet, then put it together.

    Args:
        model: the network and its facts.
        tokenizer: on ``device``, in eval mode; its decoder is used.
        record: its description.
        plan: what to draw, and where to.
        device: of the tokenizer; the network is moved there.
        on_images: told how many samples were finished, kept ones included.

    Returns:
        What was written to ``generated.json``; None for one part of several.

    Raises:
        OptionError: the settings do not fit the network.
        UserError: the tokenizer has another encoder, or ``out`` holds other samples.
        PluginError: decoded pixels are not finite.
    """
    plan.settings.check(model.facts.objective)
    if plan.samples < 1:
        raise OptionError(f"{plan.samples} samples: give 1 or more")
    _check_latent(model, tokenizer, record)
    keep_freed_memory()
    drawing = _Drawing(model, tokenizer, record, plan, device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return drawing.run(on_images)


@torch.inference_mode()
def decode_latents(
    model: LatentModel, tokenizer: Tokenizer, latents: Tensor, noise: KeyedNoise
) -> Tensor:
    """Map latents of the network back to the tokenizer's and decode them to (B, 3, H, W)."""
    side = model.resolution
    mapped = model.facts.statistics.denormalise(latents)
    return tokenizer.decode(Latent(mapped, (side, side)), noise)


class _Drawing:
    def __init__(
        self,
        model: LatentModel,
        tokenizer: Tokenizer,
        record: TokenizerRecord,
        plan: DrawPlan,
        device: torch.device,
    ) -> None:
        facts = model.facts
        self._model = model
        self._tokenizer = tokenizer
        self._record = record
        self._plan = plan
        self._device = device
        self._network = model.network.to(device)
        self._labels = draw_labels(plan.samples, model.config.classes, plan.labels, plan.seed)
        self._batch = plan.batch_size if device.type == "cuda" else CPU_BATCH
        self._fresh = {"latents": True, "images": True}
        drawn = {
            "network": sorted(model.weights.values()),
            "objective": facts.objective,
            "settings": asdict(plan.settings),
            "labels": plan.labels,
            "samples": plan.samples,
            "seed": plan.seed,
            "batch": self._batch,
            "device": device.type,
        }
        decoded = {
            "drawn": drawn,
            "statistics": asdict(facts.statistics),
            "tokenizer": [record.id, record.version, record.options],
            "weights": sorted(record.weights.values()),
        }
        self._identity = fingerprint(decoded)
        shared = plan.shared / fingerprint(drawn)[:16] if plan.shared else None
        self._work = {"images": plan.out / "batches", "latents": shared or plan.out / "latents"}

    def run(self, on_images: Callable[[int], None]) -> GeneratedRecord | None:
        plan = self._plan
        done = read_generated(plan.out)
        if done is not None and done.fingerprint == self._identity:
            on_images(plan.samples)
            return done
        if done is not None:
            raise UserError(_other(plan.out))
        self._claim()
        starts = range(0, plan.samples, self._batch)
        for start in starts[plan.part[0] :: plan.part[1]]:
            self._load(start)
            on_images(min(self._batch, plan.samples - start))
        if plan.part[1] > 1:
            return None
        result = put_together(
            plan,
            self._model,
            self._tokenizer,
            self._record,
            self._labels,
            (self._load(start) for start in starts),
            self._batch,
            self._count_work(),
            self._identity,
            self._device,
        )
        shutil.rmtree(self._work["images"], ignore_errors=True)
        if plan.shared is None:
            shutil.rmtree(self._work["latents"], ignore_errors=True)
        return result

    def _claim(self) -> None:
        """Make sure that the folder of the batches is of this plan."""
        path = self._work["images"] / "plan.json"
        if path.is_file() and read_json(path) != {"fingerprint": self._identity}:
            raise UserError(_other(self._plan.out))
        text = json.dumps({"fingerprint": self._identity}) + "\n"
        write_atomically(path, lambda target: target.write_text(text, "utf-8"))

    def _load(self, start: int) -> Arrays:
        """Images (B, H, W, 3) of the batch that begins with a sample, from disk where possible."""
        return self._kept("images", start, lambda: self._decode(start))

    def _decode(self, start: int) -> Arrays:
        drawn = self._kept("latents", start, lambda: self._draw(start))
        count = min(self._batch, len(self._labels) - start)
        latents = torch.from_numpy(drawn["latents"]).to(self._device)
        ids = self._ids(start)
        began = self._clock()
        noise = KeyedNoise(self._plan.seed, ids, "decode")
        decoded = decode_latents(self._model, self._tokenizer, latents, noise)
        seconds = self._clock() - began
        pixels = to_uint8(decoded, ids).permute(0, 2, 3, 1)[:count].cpu().numpy()
        spread = ChannelSums.of(drawn["latents"][:count])
        return {
            "images": pixels,
            "latent_sums": spread.sums,
            "latent_count": np.array(spread.count),
            "seconds": np.array([drawn["seconds"], seconds]),
            "fresh": np.array([drawn["fresh"], self._first("images")]),
        }

    def _draw(self, start: int) -> Arrays:
        numbers = [int(one) for one in self._ids(start)]
        labels = torch.from_numpy(self._labels[numbers]).to(self._device)
        began = self._clock()
        noise = KeyedNoise(self._plan.seed, self._ids(start), "sample")
        config = self._model.config
        latents = draw_latents(self._network, config, labels, noise, self._plan.settings)
        return {
            "latents": latents.cpu().numpy(),
            "seconds": np.array(self._clock() - began),
            "fresh": np.array(self._first("latents")),
        }

    def _ids(self, start: int) -> list[str]:
        """Numbers of a batch; the last one is filled up, so that all are of one size."""
        end = len(self._labels)
        return [f"{n if n < end else start:08d}" for n in range(start, start + self._batch)]

    def _first(self, kind: str) -> bool:
        """Whether this is the first batch of its process, which pays for warming up."""
        first, self._fresh[kind] = self._fresh[kind], False
        return first

    def _kept(self, kind: str, start: int, make: Callable[[], Arrays]) -> Arrays:
        """Arrays of a batch from its file, which is made where it is missing or damaged."""
        path = self._work[kind] / f"{start:08d}.npz"
        found = _read(path)
        if found is None:
            found = make()
            write_atomically(path, lambda target: _write(target, found))
        return found

    def _clock(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @torch.inference_mode()
    def _count_work(self) -> tuple[float, float | None]:
        """GMAC per image of the network, all its evaluations, and of the decoder."""
        config = self._model.config
        shape = (1, config.channels, config.side, config.side)
        x = torch.zeros(shape, device=self._device)
        one = torch.zeros(1, dtype=torch.int64, device=self._device)
        network = count_gmac(lambda: self._network(x, one.float(), one))
        decoder = None
        if self._tokenizer.networks():
            noise = KeyedNoise(0, ["work"], "decode")
            decoder = count_gmac(lambda: decode_latents(self._model, self._tokenizer, x, noise))
        return network * self._plan.settings.evaluations(), decoder


def _check_latent(model: LatentModel, tokenizer: Tokenizer, record: TokenizerRecord) -> None:
    facts, spec = model.facts, tokenizer.latent
    if facts.encoder_sha256:
        what = next(iter(model.weights))
        check_encoder(tokenizer, record, facts.encoder_sha256, facts.tokenizer, what)
    elif (spec.kind, spec.channels, spec.f) != ("continuous", model.config.channels, facts.f):
        raise UserError(
            f"the network draws f{facts.f}c{model.config.channels} latents and '{record.label}' "
            f"decodes f{spec.f}c{spec.channels}: take another tokenizer"
        )


def _other(out: Path) -> str:
    return f"{out} holds samples of other settings or weights: choose another --out, or delete it"


def _read(path: Path) -> Arrays | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception:  # whatever a damaged file raises: it is made again
        return None


def _write(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
