"""Time encoding and decoding apart, with the memory and the operations that they take."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ssdd_bench.api import Latent, Tokenizer
from ssdd_bench.api.formats import has_kernels
from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.api.noise import FixedNoise, KeyedNoise
from ssdd_bench.errors import counted
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import DTYPES, PreparedTokenizer, autocast
from ssdd_bench.evaluation.memory import peak_memory
from ssdd_bench.launch.processes import cores
from ssdd_bench.metrics.intervals import bootstrap
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import Fidelity, SpeedRecord, Timing


@dataclass(frozen=True)
class TimingSettings:
    """Duration of a measurement.

    Attributes:
        seconds: aim per direction, without warm-up.
        warmup: calls before the clock starts; the last one tells how many fit into ``seconds``.
        min_calls: timed calls at least.
        max_calls: timed calls at most.
    """

    seconds: float
    warmup: int
    min_calls: int
    max_calls: int


# The first calls on a GPU choose kernels and raise clocks; on a CPU one call fills the caches.
CPU_TIMING = TimingSettings(seconds=2.0, warmup=2, min_calls=7, max_calls=30)
CUDA_TIMING = TimingSettings(seconds=2.0, warmup=10, min_calls=30, max_calls=1000)

Batches = Sequence[int] | Literal["auto"]
"""Images per call: a list to try, or ``auto`` to double them while throughput grows."""
GROWTH = 1.05
"""Throughput of the next batch over the best so far, below which ``auto`` stops."""
MAX_BATCH = 1024
FIDELITY_IMAGES = 4
TURN_WARMUP = 2
"""Calls of each tokenizer before they are timed by turns."""


def default_timing(device: torch.device) -> TimingSettings:
    """Return the settings that suit a device."""
    return CUDA_TIMING if device.type == "cuda" else CPU_TIMING


class TimedImages:
    """Images on the device with their latents and noise, to encode and decode repeatedly.

    Networks take one batch, whose images do not matter for the time. Codecs, whose time depends on
    the image, take all images, batch after batch.

    Args:
        tokenizer: on ``device``, in evaluation mode.
        examples: real images; their references are repeated or cut to fill batches.
        batch: images per call of the tokenizer.
        protocol: how to encode and decode.
        seed: of the noise, which is sampled once.
        device: of the tokenizer.
        count: images in all; by default as above.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        examples: Examples,
        batch: int,
        protocol: Protocol,
        seed: int,
        device: torch.device,
        count: int | None = None,
    ) -> None:
        if count is None:
            count = batch if tokenizer.networks() else max(batch, len(examples.references))
        self.batch = batch
        self._tokenizer, self._protocol, self._device = tokenizer, protocol, device
        self._parts = []
        for start in range(0, count, batch):
            rows = torch.arange(start, start + batch) % len(examples.references)
            images = examples.references[rows].to(device).float() / 255
            ids = [examples.ids[row] for row in rows.tolist()]
            sampled = protocol.posterior == "sample"
            posterior = FixedNoise(KeyedNoise(seed, ids, "encode")) if sampled else None
            self._parts.append((images, posterior, FixedNoise(KeyedNoise(seed, ids, "decode"))))
        self._latents = self.encode()

    @property
    def calls(self) -> int:
        """Calls of the tokenizer in each direction."""
        return len(self._parts)

    def encode(self) -> list[Latent]:
        """Encode all images."""
        latents = []
        with autocast(self._device, self._protocol):
            for images, posterior, _ in self._parts:
                if posterior is not None:
                    posterior.rewind()
                latents.append(self._tokenizer.encode(images, posterior))
        return latents

    def decode(self) -> list[Tensor]:
        """Decode all latents."""
        with autocast(self._device, self._protocol):
            return self._decode()

    def decode_exactly(self, prepared: PreparedTokenizer) -> list[Tensor]:
        """Decode the same latents by the same networks in float32, uncompiled."""
        with prepared.float32():
            return self._decode()

    def _decode(self) -> list[Tensor]:
        decoded = []
        for (_, _, noise), latent in zip(self._parts, self._latents, strict=True):
            noise.rewind()
            decoded.append(self._tokenizer.decode(latent, noise))
        return decoded


@torch.inference_mode()
def measure_speed(
    prepared: PreparedTokenizer,
    examples: Examples,
    batches: Batches,
    seed: int,
    settings: TimingSettings | None = None,
) -> SpeedRecord:
    """Time encode and decode of batches that already lie on the device.

    Copies from or to the host and the sampling of noise are not timed. One image per call is
    always timed, for the latency. Batches that do not fit into memory end the search.

    Args:
        prepared: the tokenizer; its outputs are compared with those in float32.
        examples: real images, since the time of a codec depends on them.
        batches: images per call.
        seed: of the noise.
        settings: by default those of :func:`default_timing`.

    Raises:
        UserError: not even one image fits into memory.
    """
    tokenizer, protocol, device = prepared.tokenizer, prepared.protocol, prepared.device
    settings = settings or default_timing(device)
    warnings = [load_warning()]
    if tokenizer.networks():
        warnings.append(_format_warning(protocol, device))
    gmac = _count_both(prepared, examples, seed)
    found: dict[int, tuple[Timing, Timing]] = {}
    for batch in _sizes(batches, found):
        splitter = OOMSplitter(batch, device)

        def attempt(batch: int = batch) -> tuple[Timing, Timing]:
            images = TimedImages(tokenizer, examples, batch, protocol, seed, device)
            return _time_both(images, gmac, device, settings)

        timed = splitter.attempt(attempt, batch)
        if timed is None:
            warnings.append(f"out of memory with {counted(batch, 'image')} per call")
            break
        found[batch] = timed
    encode, decode = (
        max((pair[way] for pair in found.values()), key=lambda timing: timing.images_per_s)
        for way in range(2)
    )
    single = found[1]
    fidelity = Fidelity(None, 0.0)
    if not prepared.is_exact:
        few = min(FIDELITY_IMAGES, len(examples.references))
        images = TimedImages(tokenizer, examples, 1, protocol, seed, device, few)
        fidelity = compare_outputs(images.decode(), images.decode_exactly(prepared))
    return SpeedRecord(
        encode=encode,
        decode=decode,
        warning="; ".join(filter(None, warnings)),
        encode_single=single[0] if encode.batch > 1 else None,
        decode_single=single[1] if decode.batch > 1 else None,
        batches=tuple(found),
        fidelity=fidelity,
        threads=torch.get_num_threads(),
    )


def _sizes(batches: Batches, found: Mapping[int, tuple[Timing, Timing]]) -> Iterator[int]:
    """Yield the batches to time, in ascending order, given what was found so far."""
    if batches != "auto":
        yield from sorted({1, *batches})
        return
    best, batch = 0.0, 1
    while batch <= MAX_BATCH:
        yield batch
        if found[batch][1].images_per_s < GROWTH * best:
            return
        best = max(best, found[batch][1].images_per_s)
        batch *= 2


def compare_outputs(decoded: Sequence[Tensor], exact: Sequence[Tensor]) -> Fidelity:
    """Compare images in [0, 1], before they are rounded."""
    error = torch.cat([(a - b).double().flatten() for a, b in zip(decoded, exact, strict=True)])
    mean = error.square().mean().item()
    psnr = -10 * math.log10(mean) if mean > 0 else None
    return Fidelity(psnr, error.abs().max().item())


def _time_both(
    images: TimedImages,
    gmac: Sequence[float | None],
    device: torch.device,
    settings: TimingSettings,
) -> tuple[Timing, Timing]:
    encode, decode = (
        summarise(
            [one / images.calls for one in time_calls(call, device, settings)],
            settings.warmup,
            images.batch,
            per_image,
            *peak_memory(call, device),
        )
        for call, per_image in zip((images.encode, images.decode), gmac, strict=True)
    )
    return encode, decode


def _count_both(
    prepared: PreparedTokenizer, examples: Examples, seed: int
) -> tuple[float | None, float | None]:
    """Count the work per image of encoding and decoding; compiled kernels cannot be counted.

    Raises:
        UserError: one image does not fit into memory.
    """
    tokenizer, protocol, device = prepared.tokenizer, prepared.protocol, prepared.device
    if not tokenizer.networks():
        return None, None

    def count() -> tuple[float, float]:
        with prepared.float32():
            images = TimedImages(tokenizer, examples, 1, protocol, seed, device)
            return count_gmac(images.encode), count_gmac(images.decode)

    return OOMSplitter(1, device).attempt(count, 1) or (None, None)


def time_call(call: Callable[[], object], device: torch.device) -> float:
    """Time one call on the host's clock, in seconds, to the end of its work on the device."""
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def time_calls(
    call: Callable[[], object], device: torch.device, settings: TimingSettings
) -> tuple[float, ...]:
    """Time a call repeatedly.

    Returns:
        Seconds of every timed call, in order, without the warm-up.
    """
    last = 0.0
    for _ in range(settings.warmup):
        last = time_call(call, device)
    wanted = math.ceil(settings.seconds / max(last, 1e-9))
    repeats = min(max(wanted, settings.min_calls), settings.max_calls)
    return _time_in_order([call] * repeats, device)


def time_by_turns(
    calls: Sequence[Callable[[], object]],
    device: torch.device,
    turns: int,
    warmup: int = TURN_WARMUP,
) -> NDArray[np.float64]:
    """Time several calls by turns, the order reversed every time, so that drift cancels.

    Returns:
        Seconds (turns, calls).
    """
    for call in [*calls] * warmup:
        time_call(call, device)
    numbers = list(range(len(calls)))
    order = [number for turn in range(turns) for number in numbers[:: -1 if turn % 2 else 1]]
    taken = _time_in_order([calls[number] for number in order], device)
    seconds = np.zeros((turns, len(calls)))
    for position, (number, one) in enumerate(zip(order, taken, strict=True)):
        seconds[position // len(calls), number] = one
    return seconds


def speed_ratio(
    base: NDArray[np.float64], head: NDArray[np.float64]
) -> tuple[float, tuple[float, float]]:
    """Compute the speed of ``head`` over that of ``base`` from their seconds, turn by turn.

    Returns:
        The median over the turns, and its 95% interval.
    """
    ratios = base / head
    return float(np.median(ratios)), bootstrap(ratios, np.median)


def _time_in_order(
    calls: Sequence[Callable[[], object]], device: torch.device
) -> tuple[float, ...]:
    """Time every call once: the one clock of this package.

    On a GPU each call lies between two events on its stream, and the host waits once, at the
    end: waiting after each would time the host's launches too.
    """
    if device.type != "cuda":
        return tuple(time_call(call, device) for call in calls)
    events = []
    with torch.cuda.device(device):  # events lie on the stream of the current device
        for call in calls:
            start = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            events.append((start, end))
        torch.cuda.synchronize(device)
        return tuple(start.elapsed_time(end) / 1000 for start, end in events)


def count_gmac(call: Callable[[], object]) -> float:
    """Count the multiply-accumulates, in 10^9, of convolutions, matrix products and attention."""
    # Torch's own table lacks the attention kernel of CPUs.
    cpu_attention = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    extra: dict[Any, Any] = {cpu_attention: _attention_flop} if cpu_attention else {}
    with FlopCounterMode(display=False, custom_mapping=extra) as counter:
        call()
    return counter.get_total_flops() / 2 / 1e9


def _attention_flop(
    query: Any, key: Any, value: Any, *_: object, out_shape: object = None, **__: object
) -> int:
    return int(sdpa_flop_count(query, key, value))


def summarise(
    seconds: Sequence[float],
    warmup: int,
    batch: int,
    gmac_per_image: float | None = None,
    peak_memory_bytes: int | None = None,
    peak_memory_kind: str = "",
) -> Timing:
    """Summarise the seconds of timed calls by their median and quartiles."""
    q1, median, q3 = (float(q) for q in np.quantile(seconds, (0.25, 0.5, 0.75)))
    return Timing(
        median_s=median,
        q1_s=q1,
        q3_s=q3,
        repeats=len(seconds),
        warmup=warmup,
        batch=batch,
        images_per_s=batch / median,
        gmac_per_image=gmac_per_image,
        peak_memory_bytes=peak_memory_bytes,
        peak_memory_kind=peak_memory_kind,
    )


def load_warning() -> str:
    """Say if other programs use the processor; "" if they do not."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    # Our own threads count too, hence the half core of slack above what they can fill.
    if load <= cores() + 0.5:
        return ""
    return f"timed under a load of {load:.1f} on {cores()} cores: not to be published"


def _format_warning(protocol: Protocol, device: torch.device) -> str:
    """Say if the device has no kernels for the number format, and so no speed in it."""
    imitated = [
        name
        for name in (protocol.dtype, protocol.autocast)
        if name in DTYPES and not has_kernels(DTYPES[name], device)
    ]
    if not imitated:
        return ""
    return f"this CPU imitates {imitated[0]}, which it has no instructions for"
