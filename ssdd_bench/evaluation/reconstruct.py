"""The quality pass: every image is encoded, decoded, rounded and scored, one batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ssdd_bench.api import Latent, Tokenizer
from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.api.noise import KeyedNoise, OrderedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.loader import Batch, ImageLoader
from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation.execution import autocast
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.schema import Protocol

MAX_CODE_BITS = 24.0
"""Codes are counted in codebooks of up to 2^24 entries (16.8 million)."""
EXAMPLES = 8
"""Pairs that are kept for the sample picture and for timing."""


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
        suite: receives every pair of uint8 images; the caller computes its scores.
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
    round_trips = _RoundTrips(tokenizer, protocol, seed, device)
    ids: list[str] = []
    references: list[Tensor] = []
    reconstructions: list[Tensor] = []
    for batch in loader:
        pixels.update(batch.images.numpy().tobytes())
        for part, latent, reconstruction in round_trips.of(batch):
            size.add(latent)
            suite.add_pairs(part.ids, part.images, reconstruction)
            room = EXAMPLES - len(ids)
            if room > 0:
                references.append(part.images[:room])
                reconstructions.append(reconstruction[:room])
            ids += part.ids
            on_images(len(part))
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


class _RoundTrips:
    """Encode and decode batches, in parts that fit into memory."""

    def __init__(
        self, tokenizer: Tokenizer, protocol: Protocol, seed: int, device: torch.device
    ) -> None:
        self._tokenizer = tokenizer
        self._protocol = protocol
        self._seed = seed
        self._device = device
        self._ordered: OrderedNoise | None = None  # of the last part that fitted
        self._splitter: OOMSplitter | None = None

    def of(self, batch: Batch) -> Iterator[tuple[Batch, Latent, Tensor]]:
        """Yield each part of the batch with its latent and its uint8 reconstruction."""
        self._splitter = splitter = self._splitter or OOMSplitter(len(batch), self._device)
        start = 0
        while start < len(batch):
            stop = min(len(batch), start + splitter.size)
            part = Batch(batch.ids[start:stop], batch.images[start:stop])
            found = splitter.attempt(lambda part=part: self._round_trip(part), len(part))  # type: ignore[misc]
            if found is not None:
                yield part, *found
                start = stop

    def warnings(self) -> Iterator[str]:
        """Say where memory ran out."""
        for warning in self._splitter.warnings if self._splitter else ():
            yield f"{warning}; scores do not depend on it"

    def _round_trip(self, batch: Batch) -> tuple[Latent, Tensor]:
        images = batch.images.to(self._device).float() / 255
        sampled = self._protocol.posterior == "sample"
        encode_noise = KeyedNoise(self._seed, batch.ids, "encode") if sampled else None
        ordered = OrderedNoise(self._seed, len(batch), after=self._ordered, ids=batch.ids)
        keyed = KeyedNoise(self._seed, batch.ids, "decode")
        decode_noise = ordered if self._protocol.decoder_noise == "ordered" else keyed
        with autocast(self._device, self._protocol):
            latent = self._tokenizer.encode(images, encode_noise)
            decoded = self._tokenizer.decode(latent, decode_noise)
        if decoded.shape != images.shape:
            raise PluginError(
                f"decode returned shape {tuple(decoded.shape)}, expected {tuple(images.shape)}: "
                "fix decode in the plugin"
            )
        reconstruction = to_uint8(decoded, batch.ids).cpu()
        self._ordered = ordered
        return latent, reconstruction


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
            found = torch.bincount(latent.data.flatten().long(), minlength=len(self._counts))
            if len(found) > len(self._counts):
                raise PluginError(
                    f"encode returned code {len(found) - 1}, its LatentSpec allows "
                    f"{len(self._counts)} codes: fix bits_per_value in the plugin"
                )
            self._counts += found.cpu()

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
