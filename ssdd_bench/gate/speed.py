"""Which of two tokenizers decodes faster: timed in turns, in one process, on one machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ssdd_bench.api import Latent, Tokenizer
from ssdd_bench.api.noise import KeyedNoise, PredrawnNoise
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.evaluation.evaluate import check_resolution
from ssdd_bench.evaluation.timing import time_call
from ssdd_bench.gate.thresholds import Threshold
from ssdd_bench.metrics.intervals import bootstrap
from ssdd_bench.plugins.registry import load_tokenizer
from ssdd_bench.protocols.registry import get_protocol

WARMUP = 2


@dataclass(frozen=True)
class SpeedRatio:
    """Images per second of ``head`` over those of ``base``.

    Attributes:
        base_s: median seconds of a call.
        head_s: the same.
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
        """The loss exceeds the threshold, and the interval lies below 1."""
        return 1 - self.ratio > self.threshold.allowed(1.0) and self.interval[1] < 1


def compare_speed(
    base: str, head: str, resolution: int, turns: int, threshold: Threshold, device: str = "cpu"
) -> SpeedRatio:
    """Decode one sample photograph by turns, the order of the two changing every time.

    Args:
        base: a tokenizer with its options.
        head: another.
        resolution: in pixels.
        turns: timed calls of each.
        threshold: loss that passes.
        device: where both run.
    """
    pair = [load_tokenizer(request, device) for request in (base, head)]
    calls = [_prepared(tokenizer, resolution, device) for tokenizer in pair]
    seconds = np.zeros((turns, 2))
    for turn in range(-WARMUP, turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            elapsed = _timed(*calls[which], device)
            if turn >= 0:
                seconds[turn, which] = elapsed
    ratios = seconds[:, 0] / seconds[:, 1]
    medians = np.median(seconds, axis=0)
    return SpeedRatio(
        float(medians[0]),
        float(medians[1]),
        float(np.median(ratios)),
        bootstrap(ratios, np.median),
        turns,
        threshold,
    )


@torch.inference_mode()
def _prepared(
    tokenizer: Tokenizer, resolution: int, device: str
) -> tuple[Tokenizer, Latent, PredrawnNoise]:
    check_resolution(tokenizer, resolution)
    loader = ImageLoader(
        open_images(None), resolution, get_protocol("default-v1").crop, 1, strict=True
    )
    batch = next(iter(loader))
    images = batch.images.to(device).float() / 255
    noise = PredrawnNoise(KeyedNoise(0, batch.ids, "decode"))
    return tokenizer, tokenizer.encode(images), noise


@torch.inference_mode()
def _timed(tokenizer: Tokenizer, latent: Latent, noise: PredrawnNoise, device: str) -> float:
    noise.rewind()
    return time_call(lambda: tokenizer.decode(latent, noise), torch.device(device))
