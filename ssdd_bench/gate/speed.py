"""Comparison of the decoding speed of two tokenizers, timed in turns in one process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ssdd_bench.api.formats import tf32
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.settings import check_resolution
from ssdd_bench.evaluation.timing import TimedImages, speed_ratio, time_by_turns
from ssdd_bench.gate.thresholds import Threshold
from ssdd_bench.protocols.registry import get_protocol


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
    chosen, protocol = torch.device(device), get_protocol("default-v1")
    keep_freed_memory()
    pair = [load(request, chosen).tokenizer for request in (base, head)]
    for tokenizer in pair:
        check_resolution(tokenizer, resolution)
    batch = next(iter(ImageLoader(open_images(None), resolution, protocol.crop, 1, strict=True)))
    examples = Examples(batch.ids, batch.images, batch.images)
    with torch.inference_mode(), tf32(protocol.tf32):
        decodes = [
            TimedImages(tokenizer, examples, 1, protocol, 0, chosen).decode for tokenizer in pair
        ]
        base_s, head_s = time_by_turns(decodes, chosen, turns).T
    ratio, interval = speed_ratio(base_s, head_s)
    return SpeedRatio(
        base_s=float(np.median(base_s)),
        head_s=float(np.median(head_s)),
        ratio=ratio,
        interval=interval,
        turns=turns,
        threshold=threshold,
    )
