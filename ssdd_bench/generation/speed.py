"""Sampling speed of DiTs by size and by latent.

Weights are random, since they do not change the speed. One network evaluation is timed, and a
sample takes as many of them as its sampler needs; the rest of a step is negligible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ssdd_bench.errors import OptionError
from ssdd_bench.evaluation.timing import (
    TimingSettings,
    count_gmac,
    default_timing,
    summarise,
    time_calls,
)
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.nn.dit import DiT, make_config

CLASSES = 1000


@dataclass(frozen=True)
class LatentShape:
    """Shape of a latent, ``f8c4`` in papers, for images of a side in pixels."""

    f: int
    channels: int
    resolution: int

    @property
    def name(self) -> str:
        """Name such as ``f8c4``."""
        return f"f{self.f}c{self.channels}"

    @property
    def side(self) -> int:
        """Number of latent cells along one side."""
        return self.resolution // self.f


@dataclass(frozen=True)
class SpeedRow:
    """Speed of one network on one latent.

    Attributes:
        model: such as ``DiT-XL/2``.
        latent: such as ``f8c4``.
        resolution: side of the images in pixels.
        tokens: tokens of a latent.
        params: of the network.
        gmac: per evaluation and sample.
        batch: samples per evaluation.
        median_s: seconds per evaluation of the batch.
        q1_s: first quartile.
        q3_s: third quartile.
        evaluations: per sample, those of guidance included.
        images_per_s: samples per second, without decoding.
    """

    model: str
    latent: str
    resolution: int
    tokens: int
    params: int
    gmac: float
    batch: int
    median_s: float
    q1_s: float
    q3_s: float
    evaluations: int
    images_per_s: float


def parse_latent(text: str, resolution: int) -> LatentShape:
    """Read ``f8c4``.

    Raises:
        OptionError: it reads otherwise, or the resolution is no multiple of f.
    """
    f, _, channels = text.removeprefix("f").partition("c")
    if not (text.startswith("f") and f.isdigit() and channels.isdigit() and int(f) > 0):
        raise OptionError(f"latent '{text}': write f8c4 for 8 pixels a cell and 4 channels")
    if resolution % int(f):
        raise OptionError(f"latent '{text}': {resolution} px is not a multiple of {f}")
    return LatentShape(int(f), int(channels), resolution)


@torch.inference_mode()
def measure_sampling(
    sizes: Sequence[str],
    latents: Sequence[LatentShape],
    patch: int,
    settings: SamplerSettings,
    batch: int,
    device: torch.device,
    timing: TimingSettings | None = None,
) -> Iterator[SpeedRow]:
    """Time every size on every latent, one after another.

    Args:
        sizes: names in :data:`ssdd_bench.nn.dit.SIZES`.
        latents: shapes of the latents.
        patch: latent cells along one side of a token.
        settings: of the sampler, for the number of evaluations.
        batch: samples per evaluation.
        device: where to run.
        timing: duration of a measurement; by default what suits the device.

    Raises:
        OptionError: a size or the patch does not fit.
    """
    timing = timing or default_timing(device)
    for size in sizes:
        for latent in latents:
            config = make_config(size, patch, latent.side, latent.channels, CLASSES)
            network = DiT(config).eval().to(device)
            x = torch.randn(batch, config.channels, config.side, config.side, device=device)
            labels = torch.zeros(batch, dtype=torch.int64, device=device)
            times = torch.full((batch,), 0.5, device=device)

            def call(
                network: DiT = network,
                x: torch.Tensor = x,
                times: torch.Tensor = times,
                labels: torch.Tensor = labels,
            ) -> object:
                return network(x, times, labels)

            seconds = time_calls(call, lambda: None, device, timing)
            timed = summarise(seconds, timing.warmup, batch)
            evaluations = settings.evaluations()
            yield SpeedRow(
                model=config.name,
                latent=latent.name,
                resolution=latent.resolution,
                tokens=(config.side // patch) ** 2,
                params=sum(one.numel() for one in network.parameters()),
                gmac=count_gmac(call) / batch,
                batch=batch,
                median_s=timed.median_s,
                q1_s=timed.q1_s,
                q3_s=timed.q3_s,
                evaluations=evaluations,
                images_per_s=batch / (timed.median_s * evaluations),
            )
