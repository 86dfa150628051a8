"""Time encoding and decoding apart, with the memory and the operations that they take."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ssdd_bench.api import Tokenizer
from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.api.noise import FixedNoise, KeyedNoise
from ssdd_bench.evaluation.environment import cores
from ssdd_bench.evaluation.memory import peak_memory
from ssdd_bench.evaluation.reconstruct import Examples, autocast
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import SpeedRecord, Timing


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
CPU_TIMING = TimingSettings(seconds=2.0, warmup=2, min_calls=3, max_calls=30)
CUDA_TIMING = TimingSettings(seconds=2.0, warmup=10, min_calls=30, max_calls=1000)


def default_timing(device: torch.device) -> TimingSettings:
    """Return the settings that suit a device."""
    return CUDA_TIMING if device.type == "cuda" else CPU_TIMING


@torch.inference_mode()
def measure_speed(
    tokenizer: Tokenizer,
    examples: Examples,
    batch: int,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    settings: TimingSettings | None = None,
) -> SpeedRecord:
    """Time encode and decode of one batch that already lies on the device.

    Copies from or to the host and the sampling of noise are not timed. Where memory runs out the
    batch is halved.

    Args:
        tokenizer: on ``device``, in evaluation mode.
        examples: real images, since the time of a codec depends on them; their references are
            repeated or cut to fill the batch.
        batch: images per call.
        protocol: how to encode.
        seed: of the noise.
        device: of the tokenizer.
        settings: by default those of :func:`default_timing`.
    """
    settings = settings or default_timing(device)
    warnings = [*_load_warning()]
    splitter = OOMSplitter(batch, device)
    timed = None
    while timed is None:
        with autocast(device, protocol):
            timed = splitter.attempt(
                lambda: _time_both(
                    tokenizer, examples, splitter.size, protocol, seed, device, settings
                ),
                splitter.size,
            )
    return SpeedRecord(
        encode=timed[0],
        decode=timed[1],
        warning="; ".join([*warnings, *splitter.warnings]),
    )


def _time_both(
    tokenizer: Tokenizer,
    examples: Examples,
    batch: int,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    settings: TimingSettings,
) -> tuple[Timing, Timing]:
    rows = torch.arange(batch) % len(examples.references)
    inputs = examples.references[rows].to(device).float() / 255
    ids = [examples.ids[row] for row in rows.tolist()]
    encode_noise = FixedNoise(KeyedNoise(seed, ids, "encode"))
    decode_noise = FixedNoise(KeyedNoise(seed, ids, "decode"))
    posterior = encode_noise if protocol.posterior == "sample" else None
    latent = tokenizer.encode(inputs, posterior)
    has_networks = bool(tokenizer.networks())

    def measure(call: Callable[[], object], noise: FixedNoise) -> Timing:
        seconds = time_calls(call, noise.rewind, device, settings)

        def again() -> None:
            noise.rewind()
            call()

        memory, kind = peak_memory(again, device)
        gmac = count_gmac(again) / batch if has_networks else None
        return summarise(seconds, settings.warmup, batch, gmac, memory, kind)

    return (
        measure(lambda: tokenizer.encode(inputs, posterior), encode_noise),
        measure(lambda: tokenizer.decode(latent, decode_noise), decode_noise),
    )


def time_call(call: Callable[[], object], device: torch.device) -> float:
    """Time one call on the host's clock, in seconds, to the end of its work on the device."""
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def time_calls(
    call: Callable[[], object],
    prepare: Callable[[], object],
    device: torch.device,
    settings: TimingSettings,
) -> tuple[float, ...]:
    """Time a call repeatedly, each time after an untimed ``prepare``.

    On a GPU each call lies between two events on its stream, and the host waits once, at the
    end: waiting after each would time the host's launches too.

    Returns:
        Seconds of every timed call, in order, without the warm-up.
    """
    last = 0.0
    for _ in range(settings.warmup):
        prepare()
        last = time_call(call, device)
    wanted = math.ceil(settings.seconds / max(last, 1e-9))
    repeats = min(max(wanted, settings.min_calls), settings.max_calls)
    if device.type == "cuda":
        return _time_on_stream(call, prepare, repeats)
    seconds = []
    for _ in range(repeats):
        prepare()
        seconds.append(time_call(call, device))
    return tuple(seconds)


def _time_on_stream(
    call: Callable[[], object], prepare: Callable[[], object], repeats: int
) -> tuple[float, ...]:
    events = []
    for _ in range(repeats):
        prepare()
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        events.append((start, end))
    torch.cuda.synchronize()
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


def _load_warning() -> Iterator[str]:
    """Say if other programs use the processor."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    # Our own threads count too, hence the half core of slack above what they can fill.
    if load > cores() + 0.5:
        yield f"timed under a load of {load:.1f} on {cores()} cores: not to be published"
