"""The quality pass: every image is encoded, decoded, rounded and scored, batch by batch.

Images are decoded and noise is sampled ahead by the loader's threads. Where the metrics work on a
GPU, a batch is scored while the next one is reconstructed; on a CPU each would take the other's
cores. The results are those of one batch after another, to the bit.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ssdd_bench.api import Latent, Noise, Tokenizer
from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.api.noise import BatchNoise, KeyedNoise, OrderedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.loader import Batch, ImageLoader
from ssdd_bench.data.threads import executor
from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation.execution import autocast
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.schema import Protocol

MAX_CODE_BITS = 24.0
"""Codes are counted in codebooks of up to 2^24 entries (16.8 million)."""
EXAMPLES = 8
"""Pairs that are kept for the sample picture and for timing."""
BATCHES_BEHIND = 4
"""Batches that may wait for their scores: metrics work in groups of several small batches."""


@dataclass(frozen=True)
class Examples:
    """The first images of an evaluation.

    Attributes:
        ids: at most :data:`EXAMPLES`.
        references: uint8 (N, 3, H, W) on the CPU.
        reconstructions: uint8, likewise; an empty tensor where there are none.
    """

    ids: tuple[str, ...]
    references: Tensor
    reconstructions: Tensor


@dataclass(frozen=True)
class ReconstructionStats:
    """Statistics of one pass over the images, apart from the scores.

    Attributes:
        ids: of the images scored, in order.
        pixels_sha256: of their uint8 crops, NCHW, in order.
        bits_per_pixel: mean over the set; None for continuous latents.
        floats_per_pixel: of continuous latents; None for others.
        examples: the first images and reconstructions.
        warnings: one line each.
        codes: of a discrete latent: ``code_usage``, the fraction of all codes that occurred, and
            ``code_entropy_bits``, the entropy of their frequencies; empty for others.
    """

    ids: tuple[str, ...]
    pixels_sha256: str
    bits_per_pixel: float | None
    floats_per_pixel: float | None
    examples: Examples
    warnings: tuple[str, ...]
    codes: dict[str, float]


@torch.inference_mode()
def reconstruct(
    tokenizer: Tokenizer,
    loader: ImageLoader,
    suite: MetricSuite,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    on_images: Callable[[int], None] = lambda count: None,
) -> ReconstructionStats:
    """Score every image of the loader; memory does not grow with their number.

    Where memory runs out the batch is halved and the same images are tried again: noise belongs
    to the image or its place in the set, so the batch size changes no result.

    Args:
        tokenizer: on ``device``, in evaluation mode.
        loader: the crops; each batch is also the largest one tried.
        suite: receives every pair of uint8 images, on ``device``; the caller computes its scores.
        protocol: how to encode and to decode.
        seed: of the encoder's and the decoder's noise.
        device: of the tokenizer.
        on_images: called after each batch with the number of images in it.

    Raises:
        PluginError: a pixel is not finite, or the plugin broke its contract.
        UserError: not even one image fits into memory.
        DataError: see :class:`ssdd_bench.data.loader.ImageLoader`.
    """
    pixels = hashlib.sha256()
    size = _LatentSize(tokenizer)
    ids: list[str] = []
    references: list[Tensor] = []
    reconstructions: list[Tensor] = []

    with (
        executor(1 if loader.workers else 0, "noise") as pool,
        _Behind(overlaps(suite.device, protocol)) as behind,
    ):
        round_trips = _RoundTrips(
            tokenizer, protocol, seed, device, pool if loader.workers else None
        )

        def prepare(batch: Batch) -> _Prepared:
            hashes = pixel_hashes(batch.images) if suite.uses_hashes else None
            return _Prepared(batch, round_trips.keyed_noise(batch.ids), hashes)

        for batch, prepared in loader.prepared(prepare):
            behind.call(partial(pixels.update, batch.images.numpy().data))
            for part in round_trips.of(prepared):
                size.add(part.latent)
                behind.call(
                    partial(suite.add_pairs, part.ids, *part.images, part.hashes),
                    partial(on_images, len(part.ids)),
                )
                room = EXAMPLES - len(ids)
                if room > 0:
                    references.append(part.images[0][:room].cpu())
                    reconstructions.append(part.images[1][:room].cpu())
                ids += part.ids
    examples = Examples(tuple(ids[:EXAMPLES]), torch.cat(references), torch.cat(reconstructions))
    return ReconstructionStats(
        ids=tuple(ids),
        pixels_sha256=pixels.hexdigest(),
        bits_per_pixel=size.bits_per_pixel(),
        floats_per_pixel=size.floats_per_pixel(),
        examples=examples,
        warnings=(*_loader_warnings(loader), *round_trips.warnings()),
        codes=size.codes(),
    )


def overlaps(device: torch.device, protocol: Protocol) -> bool:
    """Return True if scores are computed by a thread of their own, while networks run.

    Metrics switch TF32 off while they compute, for the whole process: no network under test may
    run then unless it does without TF32 too.
    """
    return device.type == "cuda" and not protocol.tf32


class _Behind:
    """Make calls in order, and with ``overlap`` in a thread, while the caller goes on.

    An error surfaces in the caller: with its next call or at the end of the ``with`` block, before
    any error of the caller's own work, which without a thread would have come later.
    """

    def __init__(self, overlap: bool) -> None:
        self._pool = executor(1 if overlap else 0, "scores")
        self._waiting: deque[tuple[Future[None], Callable[[], object] | None]] = deque()

    def call(
        self, function: Callable[[], object], after: Callable[[], object] | None = None
    ) -> None:
        """Call ``function``, and ``after`` in the caller's thread when that is done."""

        def run() -> None:
            with torch.inference_mode():  # which holds for one thread
                function()

        self._waiting.append((self._pool.submit(run), after))
        while self._waiting and (
            self._waiting[0][0].done() or len(self._waiting) > 2 * BATCHES_BEHIND
        ):
            self._finish_first()

    def _finish_first(self) -> None:
        future, after = self._waiting.popleft()
        future.result()
        if after:
            after()

    def __enter__(self) -> _Behind:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            # An interruption does not wait for more than the call that runs.
            while self._waiting and (error is None or isinstance(error, Exception)):
                self._finish_first()
        finally:
            self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Prepared:
    """A batch with what the loading threads computed for it.

    Attributes:
        batch: the images.
        noise: keyed noise by stream.
        hashes: of the pixels of each image, if they are needed.
    """

    batch: Batch
    noise: Mapping[str, BatchNoise]
    hashes: tuple[bytes, ...] | None


@dataclass(frozen=True)
class _RoundTrip:
    """Images that were encoded and decoded together.

    Attributes:
        ids: of the images.
        images: references and reconstructions, uint8 on the tokenizer's device.
        latent: between them.
        hashes: as of :class:`_Prepared`.
    """

    ids: tuple[str, ...]
    images: tuple[Tensor, Tensor]
    latent: Latent
    hashes: tuple[bytes, ...] | None


class _OrderedNoise:
    """Noise in the order of the set, sampled in a thread for the batch that follows.

    That is foreseen to be as large as the one before it, and to ask for noise of the same shapes.

    Args:
        seed: of the noise.
        pin: sample into page-locked memory.
        pool: of one thread, since the numbers of a batch follow those of the one before it; None
            samples what is asked for when it is asked for.
    """

    def __init__(self, seed: int, pin: bool, pool: Executor | None) -> None:
        self._seed = seed
        self._pin = pin
        self._pool = pool
        self._last: OrderedNoise | None = None  # after the last batch; nothing is sampled of it
        self._next: Future[BatchNoise] | None = None
        self._foreseen: tuple[tuple[int, ...], ...] = ()
        self._count = 0

    def start(self, ids: Sequence[str]) -> BatchNoise:
        """Return the noise of the next batch, and begin to sample that of the one after it."""
        foreseen, self._next = self._next, None
        if foreseen is not None and self._count == len(ids):
            noise = foreseen.result()
        else:
            noise = self._batch(len(ids), self._last, self._foreseen)
        noise.ids = tuple(ids)
        self._count = len(ids)
        if self._pool and self._foreseen:
            after = self._copy(noise.sampled)
            self._next = self._pool.submit(self._batch, len(ids), after, self._foreseen)
        return noise

    def finish(self, noise: BatchNoise) -> None:
        """Take in what a batch asked for."""
        if noise.shapes != self._foreseen:
            self._next = None
            self._foreseen = noise.shapes if self._pool else ()
        self._last = self._copy(noise.source)

    def _batch(
        self, count: int, after: OrderedNoise | None, shapes: Sequence[tuple[int, ...]]
    ) -> BatchNoise:
        make = partial(OrderedNoise, self._seed, count, after=after, pin=self._pin)
        return BatchNoise(make, shapes)

    def _copy(self, noise: Noise) -> OrderedNoise:
        assert isinstance(noise, OrderedNoise)
        return OrderedNoise(self._seed, 0, after=noise)


class _RoundTrips:
    """Encode and decode batches, in parts that fit into memory."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        protocol: Protocol,
        seed: int,
        device: torch.device,
        noise_pool: Executor | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._protocol = protocol
        self._seed = seed
        self._device = device
        self._pin = device.type == "cuda"
        self._ordered = _OrderedNoise(seed, self._pin, noise_pool)
        self._splitter: OOMSplitter | None = None
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}  # asked for by the last batch
        keyed = ["decode"] if protocol.decoder_noise == "keyed" else []
        self._streams = (["encode"] if protocol.posterior == "sample" else []) + keyed

    def keyed_noise(self, ids: Sequence[str]) -> dict[str, BatchNoise]:
        """Sample the noise of a batch by stream, as far as its shapes are known; in any thread."""
        return {
            stream: BatchNoise(
                partial(KeyedNoise, self._seed, ids, stream, self._pin),
                self._shapes.get(stream, ()),
            )
            for stream in self._streams
        }

    def of(self, prepared: _Prepared) -> Iterator[_RoundTrip]:
        """Encode and decode a batch, and yield its parts."""
        count, noise = len(prepared.batch), dict(prepared.noise)
        if self._protocol.decoder_noise == "ordered":
            noise["decode"] = self._ordered.start(prepared.batch.ids)
        self._splitter = splitter = self._splitter or OOMSplitter(count, self._device)
        start = 0
        while start < count:
            part = slice(start, min(count, start + splitter.size))
            trip = splitter.attempt(
                lambda part=part: self._round_trip(prepared, noise, part),  # type: ignore[misc]
                part.stop - start,
            )
            if trip is not None:
                yield trip
                start = part.stop
        self._shapes = {stream: one.shapes for stream, one in noise.items()}
        if self._protocol.decoder_noise == "ordered":
            self._ordered.finish(noise["decode"])

    def warnings(self) -> Iterator[str]:
        """Say where memory ran out."""
        for warning in self._splitter.warnings if self._splitter else ():
            yield f"{warning}; scores do not depend on it"

    def _round_trip(
        self, prepared: _Prepared, noise: Mapping[str, BatchNoise], part: slice
    ) -> _RoundTrip:
        ids = prepared.batch.ids[part]
        references = prepared.batch.images[part].to(self._device, non_blocking=True)
        images = references.float() / 255
        encode_noise = noise["encode"].part(part) if "encode" in noise else None
        with autocast(self._device, self._protocol):
            latent = self._tokenizer.encode(images, encode_noise)
            decoded = self._tokenizer.decode(latent, noise["decode"].part(part))
        if decoded.shape != images.shape:
            raise PluginError(
                f"decode returned shape {tuple(decoded.shape)}, expected {tuple(images.shape)}: "
                "fix decode in the plugin"
            )
        reconstructions = to_uint8(decoded, ids).to(self._device)
        hashes = None if prepared.hashes is None else prepared.hashes[part]
        return _RoundTrip(ids, (references, reconstructions), latent, hashes)


class _LatentSize:
    """Add up the contents of latents, and check them against the tokenizer's description."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._spec = tokenizer.latent
        self._pixels = 0
        self._values = 0
        self._bytes = 0
        bits = self._spec.bits_per_value or 0.0
        # One count per code; the levels of pixels and the like are codes too.
        self._counts = torch.zeros(round(2**bits) if bits <= MAX_CODE_BITS else 0).long()

    def add(self, latent: Latent) -> None:
        height, width = latent.size
        self._pixels += len(latent) * height * width
        if not isinstance(latent.data, Tensor):
            self._bytes += sum(len(stream) for stream in latent.data)
            return
        shape = tuple(latent.data.shape[1:])
        expected = self._spec.shape(height, width)
        if shape != expected:
            raise PluginError(
                f"encode returned a latent of shape {shape} for {height} x {width} px, its "
                f"LatentSpec says {expected}: fix encode or latent in the plugin"
            )
        self._values += latent.data.numel()
        if self._spec.kind == "discrete" and len(self._counts):
            codes = latent.data.flatten().long()
            least, largest = torch.stack(codes.aminmax()).tolist()
            if least < 0 or largest >= len(self._counts):
                raise PluginError(
                    f"encode returned code {least if least < 0 else largest}, its LatentSpec "
                    f"allows {len(self._counts)} codes: fix bits_per_value in the plugin"
                )
            self._counts = self._counts.to(codes.device)  # where they stay
            self._counts.scatter_add_(0, codes, torch.ones_like(codes))

    def bits_per_pixel(self) -> float | None:
        if self._spec.kind == "bytes":
            return 8 * self._bytes / self._pixels
        if self._spec.kind == "discrete" and self._spec.bits_per_value is not None:
            return self._values * self._spec.bits_per_value / self._pixels
        return None

    def codes(self) -> dict[str, float]:
        total = self._counts.sum().item()
        if self._spec.kind != "discrete" or not total:
            return {}
        used = self._counts[self._counts > 0].double() / total
        return {
            "code_usage": len(used) / len(self._counts),
            "code_entropy_bits": max(0.0, -(used * used.log2()).sum().item()),
        }

    def floats_per_pixel(self) -> float | None:
        return self._values / self._pixels if self._spec.kind == "continuous" else None


def _loader_warnings(loader: ImageLoader) -> Iterator[str]:
    if loader.skipped:
        first = next(iter(loader.skipped))
        yield f"{len(loader.skipped)} images could not be decoded and were left out, first {first}"
    if loader.upscaled:
        yield f"{loader.upscaled} images are smaller than the resolution and were enlarged"
