"""Decoding speeds of several tokenizers, timed by turns in one process so that drift cancels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray

from ssdd_bench.api import Tokenizer
from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import prepare
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import Settings, choose_batches, job_label, tokenizer_device
from ssdd_bench.evaluation.timing import TimedImages, speed_ratio, time_by_turns
from ssdd_bench.protocols.schema import Protocol
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

    All take the same batch, which is halved until it fits for each of them.

    Args:
        tokenizers: by a name of the caller's.
        baseline: name of the one that the others are compared with.
        examples: see :func:`ssdd_bench.evaluation.work.first_images`.
        settings: how the tokenizers are evaluated.
        turns: timed calls of each.

    Returns:
        A comparison by name, without the baseline and those that run on another device, such as
        codecs beside networks on a GPU.

    Raises:
        UserError: not even one image fits into memory.
    """
    device = tokenizer_device(tokenizers[baseline].tokenizer, settings.device)
    splitter = OOMSplitter(choose_batches(settings.batch_size, device).scores, device)
    there: dict[str, tuple[Tokenizer, Protocol]] = {}
    with ExitStack() as stack:
        for name, loaded in tokenizers.items():
            tokenizer = loaded.tokenizer
            if tokenizer_device(tokenizer, settings.device) != device:
                continue
            execution = settings.execution.for_tokenizer(tokenizer)
            used = execution.applied_to(settings.protocol)
            with torch.inference_mode(False):
                prepared = stack.enter_context(
                    prepare(tokenizer, used, device, execution, settings.resolution, splitter.size)
                )
            splitter = prepared.splitter  # the next ones take no larger batch
            there[name] = tokenizer, used

        def time(batch: int) -> dict[str, NDArray[np.float64]]:
            """Return seconds per image of each turn, by name."""
            if settings.execution.compile != "off" and batch < largest:
                torch.compiler.reset()  # frees the graphs that did not fit
            timed = {
                name: TimedImages(one, examples, batch, used, settings.seed, device)
                for name, (one, used) in there.items()
            }
            seconds = time_by_turns([one.decode for one in timed.values()], device, turns)
            return {
                name: taken / (one.batch * one.calls)
                for (name, one), taken in zip(timed.items(), seconds.T, strict=True)
            }

        largest = splitter.size
        per_image = splitter.fit(time)
    label = job_label(tokenizers[baseline], settings)
    return {
        name: SpeedComparison(label, *speed_ratio(per_image[baseline], taken), turns, splitter.size)
        for name, taken in per_image.items()
        if name != baseline
    }
