"""The speed measurement: encode and decode timed apart, with the memory and the work they take."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ssdd_bench.api import Tokenizer
from ssdd_bench.api.noise import KeyedNoise, PredrawnNoise
from ssdd_bench.evaluation.environment import cores
from ssdd_bench.evaluation.memory import is_out_of_memory, peak_memory, release_memory
from ssdd_bench.evaluation.reconstruct import autocast
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import SpeedRecord, Timing


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: aim per direction, warm-up apart.
        warmup: calls before the clock; the last one tells how many repeats fit into ``seconds``.
        least: repeats at any rate.
        most: repeats at the most.
    """

    seconds: float
    warmup: int
    least: int
    most: int


# The first calls on a GPU choose kernels and raise clocks; on a CPU one call fills the caches.
CPU_EFFORT = Effort(seconds=2.0, warmup=2, least=3, most=30)
CUDA_EFFORT = Effort(seconds=2.0, warmup=10, least=30, most=1000)


@dataclass(frozen=True)
class Samples:
    """Seconds of every timed call, in order; warm-up calls are not among them."""

    seconds: tuple[float, ...]
    warmup: int


@torch.inference_mode()
def measure_speed(
    tokenizer: Tokenizer,
    images: Tensor,
    batch: int,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    effort: Effort | None = None,
    ids: Sequence[str] = (),
) -> SpeedRecord:
    """Time encode and decode of one batch that lies on the device already.

    The clock sees neither copies from or to the host nor the drawing of noise. Where memory runs
    out the batch is halved.

    Args:
        tokenizer: on ``device``, in eval mode.
        images: uint8 (N, 3, H, W), repeated or cut to fill the batch; real ones, since a codec's
            time depends on them.
        batch: images per call.
        protocol: how to encode.
        seed: of the noise.
        device: of the tokenizer.
        effort: how long to measure, by default what suits the device.
        ids: of the images; by default numbers.
    """
    ids = ids or [str(index) for index in range(len(images))]
    effort = effort or (CUDA_EFFORT if device.type == "cuda" else CPU_EFFORT)
    warning = _load_warning()
    while True:
        try:
            with autocast(device, protocol):
                encode, decode = _time_both(
                    tokenizer, images, ids, batch, protocol, seed, device, effort
                )
            break
        except (RuntimeError, MemoryError) as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        # Outside the handler, so that the failed call's tensors are free.
        release_memory(device)
        batch //= 2
        warning = _join(warning, f"out of memory: timed with a batch of {batch}")
    return SpeedRecord(
        encode=encode,
        decode=decode,
        warning=warning,
    )


def _time_both(
    tokenizer: Tokenizer,
    images: Tensor,
    ids: Sequence[str],
    batch: int,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    effort: Effort,
) -> tuple[Timing, Timing]:
    rows = torch.arange(batch) % len(images)
    inputs = images[rows].to(device).float() / 255
    ids = [ids[row] for row in rows.tolist()]
    encode_noise = PredrawnNoise(KeyedNoise(seed, ids, "encode"))
    decode_noise = PredrawnNoise(KeyedNoise(seed, ids, "decode"))
    posterior = encode_noise if protocol.posterior == "sample" else None
    latent = tokenizer.encode(inputs, posterior)
    counts_work = bool(tokenizer.networks())

    def measure(call: Callable[[], object], noise: PredrawnNoise) -> Timing:
        samples = time_calls(call, noise.rewind, device, effort)

        def again() -> None:
            noise.rewind()
            call()

        memory, kind = peak_memory(again, device)
        gmac = count_gmac(again) / batch if counts_work else None
        return _timing(samples, batch, gmac, memory, kind)

    return (
        measure(lambda: tokenizer.encode(inputs, posterior), encode_noise),
        measure(lambda: tokenizer.decode(latent, decode_noise), decode_noise),
    )


def time_calls(
    call: Callable[[], object],
    prepare: Callable[[], object],
    device: torch.device,
    effort: Effort,
) -> Samples:
    """Time a call repeatedly, each time after an untimed ``prepare``.

    On a GPU each call lies between two events on its stream, and the host waits once, at the
    end: waiting after each would time the host's launches too.
    """
    cuda = device.type == "cuda"
    estimate = 0.0
    for _ in range(effort.warmup):
        prepare()
        started = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize(device)
        estimate = time.perf_counter() - started
    wanted = math.ceil(effort.seconds / max(estimate, 1e-9))
    repeats = min(max(wanted, effort.least), effort.most)
    times = _time_cuda if cuda else _time_host
    return Samples(times(call, prepare, repeats), effort.warmup)


def _time_host(
    call: Callable[[], object], prepare: Callable[[], object], repeats: int
) -> tuple[float, ...]:
    times = []
    for _ in range(repeats):
        prepare()
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return tuple(times)


def _time_cuda(
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


def _timing(
    samples: Samples, batch: int, gmac: float | None, memory: int, memory_kind: str
) -> Timing:
    q1, median, q3 = (float(q) for q in np.quantile(samples.seconds, (0.25, 0.5, 0.75)))
    return Timing(
        median_s=median,
        q1_s=q1,
        q3_s=q3,
        repeats=len(samples.seconds),
        warmup=samples.warmup,
        batch=batch,
        images_per_s=batch / median,
        gmac_per_image=gmac,
        peak_memory_bytes=memory,
        peak_memory_kind=memory_kind,
    )


def _load_warning() -> str:
    # Our own threads count too, hence the half core of slack above what they can fill.
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= cores() + 0.5:
        return ""
    return f"timed under a load of {load:.1f} on {cores()} cores: not to be published"


def _join(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
