"""Sampling speed of DiTs by size and by latent.

Weights are random, since they do not change the speed. One network evaluation is timed, and a
sample takes as many of them as its sampler needs; the rest of a step is negligible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch

from ssdd_bench.api.formats import tf32
from ssdd_bench.errors import OptionError
from ssdd_bench.evaluation.execution import DTYPES, MODES
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.timing import count_gmac, default_timing, summarise, time_calls
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.nn.dit import DiT, make_config
from ssdd_bench.results.schema import Compilation, NumberFormat

CLASSES = 1000


@dataclass(frozen=True)
class SpeedRow:
    """Speed of one network on one latent."""

    model: str  # such as DiT-XL/2
    latent: str  # such as f8c4
    resolution: int  # side of the images in pixels
    tokens: int  # of a latent
    params: int
    gmac: float  # per evaluation and sample
    batch: int  # samples per evaluation
    dtype: NumberFormat
    compile: Compilation
    median_s: float  # of one evaluation of the batch
    q1_s: float
    q3_s: float
    evaluations: int  # per sample, those of guidance included
    images_per_s: float  # without decoding


def parse_latent(text: str, resolution: int) -> tuple[int, int]:
    """Read f and channels of ``f8c4``; ``OptionError`` if f does not divide the resolution."""
    found = re.fullmatch(r"f([1-9]\d*)c(\d+)", text)
    if not found:
        raise OptionError(f"latent '{text}': write f8c4 for 8 pixels a cell and 4 channels")
    f, channels = map(int, found.groups())
    if resolution % f:
        raise OptionError(f"latent '{text}': {resolution} px is not a multiple of {f}")
    return f, channels


@torch.inference_mode()
def measure_sampling(
    sizes: Sequence[str],
    latents: Sequence[str],
    resolution: int,
    patch: int,
    settings: SamplerSettings,
    batch: int,
    device: torch.device,
    dtype: NumberFormat,
    compile: Compilation,
) -> Iterator[SpeedRow]:
    """Time every size on every latent, one after another.

    Args:
        sizes: names in :data:`ssdd_bench.nn.dit.SIZES`.
        latents: shapes such as ``f8c4``.
        resolution: side of the images in pixels.
        patch: latent cells along one side of a token.
        settings: of the sampler, for the number of evaluations.
        batch: samples per evaluation.
        device: where to run.
        dtype: of the network's weights and latents.
        compile: ``off``, or a mode of ``torch.compile``.

    Raises:
        OptionError: a size, a shape or the patch does not fit.
    """
    keep_freed_memory()
    timing, evaluations = default_timing(device), settings.evaluations()
    shapes = [parse_latent(text, resolution) for text in latents]
    for size, (f, channels) in product(sizes, shapes):
        config = make_config(size, patch, resolution // f, channels, CLASSES)
        network = DiT(config).eval().to(device, DTYPES[dtype])
        shape = (batch, channels, config.side, config.side)
        x = torch.randn(shape, device=device, dtype=DTYPES[dtype])
        times = torch.full((batch,), 0.5, device=device)
        labels = torch.zeros(batch, dtype=torch.int64, device=device)
        call = partial(network, x, times, labels)
        gmac = count_gmac(call) / batch  # before compilation: compiled kernels are not counted
        if compile != "off":
            compiled = torch.compile(network, dynamic=False, mode=MODES[compile, False])
            call = partial(compiled, x, times, labels)
        with tf32(False):
            seconds = time_calls(call, device, timing)
        timed = summarise(seconds, timing.warmup, batch)
        yield SpeedRow(
            model=config.name,
            latent=f"f{f}c{channels}",
            resolution=resolution,
            tokens=(config.side // patch) ** 2,
            params=sum(one.numel() for one in network.parameters()),
            gmac=gmac,
            batch=batch,
            dtype=dtype,
            compile=compile,
            median_s=timed.median_s,
            q1_s=timed.q1_s,
            q3_s=timed.q3_s,
            evaluations=evaluations,
            images_per_s=batch / (timed.median_s * evaluations),
        )
