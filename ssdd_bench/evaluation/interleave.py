"""Decoding speeds of several tokenizers, timed by turns in one process so that drift cancels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import torch

from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import prepare
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import Settings, choose_batches, job_label, tokenizer_device
from ssdd_bench.evaluation.timing import TimedImages, speed_ratio, time_by_turns
from ssdd_bench.results.schema import SpeedComparison

TURNS = 15
"""Timed calls of each tokenizer."""


@torch.inference_mode()
def compare_by_turns(
    tokenizers: Mapping[str, LoadedTokenizer],
    baseline: str,
    examples: Examples,
    settings: Settings,
    turns: int = TURNS,
) -> dict[str, SpeedComparison]:
    """Time the decoders of several tokenizers by turns; all are in memory at the same time.

    Args:
        tokenizers: by a name of the caller's.
        baseline: name of the one that the others are compared with.
        examples: see :func:`ssdd_bench.evaluation.work.first_images`.
        settings: how the tokenizers are evaluated.
        turns: timed calls of each.

    Returns:
        A comparison by name, without the baseline and those that run on another device, such as
        codecs beside networks on a GPU.
    """
    device = tokenizer_device(tokenizers[baseline].tokenizer, settings.device)
    batch = choose_batches(settings.batch_size, device).scores
    timed: dict[str, TimedImages] = {}
    with ExitStack() as stack:
        for name, loaded in tokenizers.items():
            tokenizer = loaded.tokenizer
            if tokenizer_device(tokenizer, settings.device) != device:
                continue
            execution = settings.execution.for_tokenizer(tokenizer)
            used = execution.applied_to(settings.protocol)
            with torch.inference_mode(False):
                prepared = prepare(tokenizer, used, device, execution, settings.resolution, batch)
                stack.enter_context(prepared)
            timed[name] = TimedImages(tokenizer, examples, batch, used, settings.seed, device)
        seconds = time_by_turns([one.decode for one in timed.values()], device, turns)
    per_image = {
        name: taken / (one.batch * one.calls)
        for (name, one), taken in zip(timed.items(), seconds.T, strict=True)
    }
    label = job_label(tokenizers[baseline], settings)
    return {
        name: SpeedComparison(label, *speed_ratio(per_image[baseline], taken), turns)
        for name, taken in per_image.items()
        if name != baseline
    }
