"""Comparison of the decoding speed of two tokenizers, timed in turns in one process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch

from ssdd_bench.api.noise import FixedNoise, KeyedNoise
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.evaluation.evaluate import check_resolution
from ssdd_bench.evaluation.timing import time_call
from ssdd_bench.gate.thresholds import Threshold
from ssdd_bench.metrics.intervals import bootstrap
from ssdd_bench.plugins.registry import load_tokenizer

WARMUP = 2


@dataclass(frozen=True)
class SpeedRatio:
    """Images per second of ``head`` over those of ``base``.

    Attributes:
        base_s: median seconds of a call; likewise ``head_s``.
        ratio: median over the turns; above 1 the head is faster.
        interval: 95% of that median.
        turns: calls of each.
        threshold: loss that passes.
    """

    base_s: float
    head_s: float
    ratio: float
    interval: tuple[float, float]
    turns: int
    threshold: Threshold

    @property
    def is_regression(self) -> bool:
        """Return True if the loss exceeds the threshold and the interval lies below 1."""
        return 1 - self.ratio > self.threshold.allowed(1.0) and self.interval[1] < 1


def compare_speed(
    base: str, head: str, resolution: int, turns: int, threshold: Threshold, device: str = "cpu"
) -> SpeedRatio:
    """Decode one sample photograph by turns, the order of the two changing every time."""
    pair = [load_tokenizer(request, device) for request in (base, head)]
    for tokenizer in pair:
        check_resolution(tokenizer, resolution)
    batch = next(iter(ImageLoader(open_images(None), resolution, "adm", 1, strict=True)))
    images = batch.images.to(device).float() / 255
    with torch.inference_mode():
        latents = [tokenizer.encode(images) for tokenizer in pair]
    noises = [FixedNoise(KeyedNoise(0, batch.ids, "decode")) for _ in pair]
    seconds = np.zeros((WARMUP + turns, 2))
    for turn, which in product(range(WARMUP + turns), range(2)):
        which = which if turn % 2 else 1 - which
        noises[which].rewind()
        decode = partial(pair[which].decode, latents[which], noises[which])
        with torch.inference_mode():
            seconds[turn, which] = time_call(decode, torch.device(device))
    base_s, head_s = seconds[WARMUP:].T
    ratios = base_s / head_s
    return SpeedRatio(
        base_s=float(np.median(base_s)),
        head_s=float(np.median(head_s)),
        ratio=float(np.median(ratios)),
        interval=bootstrap(ratios, np.median),
        turns=turns,
        threshold=threshold,
    )
