"""The quality pass: every image is encoded, decoded, rounded and scored, batch by batch.

Images are decoded and noise is sampled ahead by the loader's threads. Where the metrics work on a
GPU, a batch is scored while the next one is reconstructed; on a CPU each would take the other's
cores. The results are those of one batch after another, to the bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ssdd_bench.api import Latent, Noise
from ssdd_bench.api.noise import BatchNoise, KeyedNoise, OrderedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.loader import Batch, ImageLoader
from ssdd_bench.data.threads import executor
from ssdd_bench.evaluation.chunks import HASH_BYTES, ChunkState
from ssdd_bench.evaluation.examples import Examples, count_kept
from ssdd_bench.evaluation.execution import PreparedTokenizer
from ssdd_bench.evaluation.latent_size import LatentCounter, LatentCounts
from ssdd_bench.evaluation.repeat import repeat_first_image, round_trip
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.state import SuiteState
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.protocols.schema import Protocol

BATCHES_BEHIND = 4
"""Batches that may wait for their scores: metrics work in groups of several small batches."""


@torch.inference_mode()
def reconstruct(
    prepared: PreparedTokenizer,
    loader: ImageLoader,
    suite: MetricSuite,
    seed: int,
    guard: Guard,
    chunks: Sequence[int],
    save: Callable[[int, ChunkState], None],
    progress: Progress,
    repeat: bool = True,
) -> None:
    """Score every image of the loader, whose groups are the chunks.

    Memory grows with neither the images nor the chunks: what is found of a chunk is handed over at
    its end. Loading, noise and scores go on across the borders of chunks.

    Where memory runs out the batch is halved and the same images are tried again: noise belongs
    to the image or its place in the set, so the batch size changes no result.

    Args:
        prepared: the tokenizer.
        loader: the crops; in one group where the decoder's noise is in the order of the set.
        suite: receives every pair of uint8 images, on the tokenizer's device; its state is taken at
            the end of each chunk.
        seed: of the encoder's and the decoder's noise.
        guard: of the tokenizer's calls.
        chunks: number of the chunk that each group is; of chunk 0 the first images are kept.
        save: receives the number of a chunk and what was found of it, in order, where scores
            have a thread of their own in that thread.
        progress: receives the progress.
        repeat: encode and decode the first image of chunk 0 once more, from the same noise, and
            warn of a difference.

    Raises:
        PluginError: a pixel is not finite, or the plugin broke its contract.
        UserError: not even one image fits into memory.
        DataError: see :class:`ssdd_bench.data.loader.ImageLoader`.
    """
    found = _Chunk()
    counter = LatentCounter(prepared.tokenizer.latent)
    with (
        executor(1 if loader.threads else 0, "noise") as pool,
        _Behind(overlaps(suite.device, prepared.protocol)) as behind,
    ):
        round_trips = _RoundTrips(prepared, seed, pool if loader.threads else None, guard)

        def begin(batch: Batch) -> _Begun:
            return _Begun(batch, round_trips.keyed_noise(batch.ids), pixel_hashes(batch.images))

        def finish(
            chunk: int,
            found: _Chunk,
            latent: Callable[[], LatentCounts],
            warnings: Sequence[str],
            decoded: Sequence[Tensor],
        ) -> None:
            save(chunk, found.state(latent(), suite.take(), warnings, _range(decoded)))

        for batch, begun in loader.prepared(begin):
            chunk = chunks[batch.group]
            found.add(begun)
            for part in round_trips.of(begun, repeat and chunk == 0):
                counter.add(part.latent)
                behind.call(
                    partial(suite.add_pairs, part.ids, *part.images, part.hashes),
                    partial(progress.images_done, len(part.ids)),
                )
                if chunk == 0:
                    found.add_examples(part.images)
            if batch.last:
                behind.call(
                    partial(
                        finish,
                        chunk,
                        found,
                        counter.take(),
                        round_trips.warnings(),
                        round_trips.take_decoded(),
                    ),
                    partial(progress.chunk_done, chunk),
                )
                found = _Chunk()


class _Chunk:
    """Facts about a chunk, apart from its scores."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._hashes: list[bytes] = []
        self._skipped: dict[str, str] = {}
        self._enlarged = 0
        self._examples: list[tuple[Tensor, Tensor]] = []

    def add(self, begun: _Begun) -> None:
        batch = begun.batch
        self._ids += batch.ids
        self._hashes += begun.hashes
        self._skipped.update(batch.skipped)
        self._enlarged += batch.enlarged

    def add_examples(self, images: tuple[Tensor, Tensor]) -> None:
        """Keep references and reconstructions of a batch, if they are among the first."""
        room = count_kept(*images[0].shape[-2:]) - sum(len(one) for one, _ in self._examples)
        if room > 0:
            references, reconstructions = (one[:room].cpu() for one in images)
            self._examples.append((references, reconstructions))

    def state(
        self,
        latent: LatentCounts,
        metrics: SuiteState,
        warnings: Sequence[str],
        decoded: tuple[float, float],
    ) -> ChunkState:
        examples = None
        if self._examples:
            references, reconstructions = map(torch.cat, zip(*self._examples, strict=True))
            ids = tuple(self._ids[: len(references)])
            examples = Examples(ids, references, reconstructions)
        return ChunkState(
            tuple(self._ids),
            np.frombuffer(b"".join(self._hashes), np.uint8).reshape(-1, HASH_BYTES),
            self._skipped,
            self._enlarged,
            latent,
            metrics,
            examples,
            tuple(warnings),
            decoded,
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
class _Begun:
    """A batch with what the loading threads computed for it.

    Attributes:
        batch: the images.
        noise: keyed noise by stream.
        hashes: of the pixels of each image.
    """

    batch: Batch
    noise: Mapping[str, BatchNoise]
    hashes: tuple[bytes, ...]


@dataclass(frozen=True)
class _RoundTrip:
    """Images that were encoded and decoded together.

    Attributes:
        ids: of the images.
        images: references and reconstructions, uint8 on the tokenizer's device.
        latent: between them.
        hashes: as of :class:`_Begun`.
    """

    ids: tuple[str, ...]
    images: tuple[Tensor, Tensor]
    latent: Latent
    hashes: tuple[bytes, ...]


def _range(parts: Sequence[Tensor]) -> tuple[float, float]:
    """Return the least and the largest value of 0, 1 and tensors (2,), which a GPU may compute."""
    values = [0.0, 1.0]
    if parts:
        values += torch.cat([*parts]).float().tolist()
    return min(values), max(values)


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
        self, prepared: PreparedTokenizer, seed: int, noise_pool: Executor | None, guard: Guard
    ) -> None:
        self._tokenizer, self._protocol = prepared.tokenizer, prepared.protocol
        self._device, self._splitter = prepared.device, prepared.splitter
        self._guard = guard
        self._seed = seed
        self._pin = self._device.type == "cuda"
        self._ordered = _OrderedNoise(seed, self._pin, noise_pool)
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}  # asked for by the last batch
        self._decoded: list[Tensor] = []  # least and largest values
        self._repeated = False
        self._said: list[str] = []
        keyed = ["decode"] if self._protocol.decoder_noise == "philox" else []
        self._streams = (["encode"] if self._protocol.posterior == "sample" else []) + keyed

    def keyed_noise(self, ids: Sequence[str]) -> dict[str, BatchNoise]:
        """Sample the noise of a batch by stream, as far as its shapes are known; in any thread."""
        return {
            stream: BatchNoise(
                partial(KeyedNoise, self._seed, ids, stream, self._pin),
                self._shapes.get(stream, ()),
            )
            for stream in self._streams
        }

    def of(self, begun: _Begun, repeat: bool) -> Iterator[_RoundTrip]:
        """Encode and decode a batch, and yield its parts; repeat the first image of all once."""
        count, noise = len(begun.batch), dict(begun.noise)
        if not count:
            return
        if self._protocol.decoder_noise == "ordered":
            noise["decode"] = self._ordered.start(begun.batch.ids)
        start = 0
        while start < count:
            part = slice(start, min(count, start + self._splitter.size))
            trip = self._splitter.attempt(
                lambda part=part: self._round_trip(  # type: ignore[misc]
                    begun, noise, part, repeat
                ),
                part.stop - start,
            )
            if trip is not None:
                yield trip
                start = part.stop
        self._shapes = {stream: one.shapes for stream, one in noise.items()}
        if self._protocol.decoder_noise == "ordered":
            self._ordered.finish(noise["decode"])

    def warnings(self) -> tuple[str, ...]:
        """Say where memory ran out since the last call, and what the plugin has changed."""
        found = self._splitter.warnings
        said = tuple(f"{warning}; scores do not depend on it" for warning in found)
        found.clear()
        repeated, self._said = self._said, []
        return (*said, *repeated, *self._guard.warnings("running"))

    def take_decoded(self) -> list[Tensor]:
        """Return the least and the largest value, (2,), of each batch since the last call."""
        found, self._decoded = self._decoded, []
        return found

    def _round_trip(
        self, begun: _Begun, noise: Mapping[str, BatchNoise], part: slice, repeat: bool
    ) -> _RoundTrip:
        ids = begun.batch.ids[part]
        references = begun.batch.images[part].to(self._device, non_blocking=True)
        encode_noise = noise["encode"].part(part) if "encode" in noise else None
        latent, decoded = round_trip(
            self._tokenizer,
            self._guard,
            self._protocol,
            references,
            encode_noise,
            noise["decode"].part(part),
        )
        reconstructions = to_uint8(decoded, ids).to(self._device)
        self._decoded.append(torch.stack(decoded.aminmax()))
        if repeat and not self._repeated:
            self._repeated = True
            fault = repeat_first_image(
                self._tokenizer,
                self._guard,
                self._protocol,
                self._seed,
                ids[:1],
                references[:1],
                decoded[:1].clone(),
                alone=len(ids) == 1,
            )
            self._said += filter(None, [fault])
        return _RoundTrip(ids, (references, reconstructions), latent, begun.hashes[part])
