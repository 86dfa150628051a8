"""Decoding speeds of several tokenizers, timed by turns in one process so that drift cancels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import PreparedTokenizer, prepare
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import Settings, choose_batches, job_label, tokenizer_device
from ssdd_bench.evaluation.timing import (
    TURN_WARMUP,
    TimedImages,
    load_warning,
    speed_ratio,
    summarise,
    time_by_turns,
)
from ssdd_bench.results.schema import SpeedComparison, SpeedRecord, Timing

TURNS = 15
"""Timed calls of each tokenizer."""


@dataclass(frozen=True)
class Turns:
    """The calls of one decoder that was timed by turns with others.

    Attributes:
        seconds: float64 (turns,), of one call each.
        batch: images per call.
        comparison: with the baseline; None for the baseline itself.
        warning: of other load on the machine; empty if there was none.
    """

    seconds: NDArray[np.float64]
    batch: int
    comparison: SpeedComparison | None
    warning: str = ""

    def put_into(self, speed: SpeedRecord) -> SpeedRecord:
        """Return a record with the comparison, and with the rate of the same calls.

        Timed one after the other, two decoders may run on a machine at two speeds, and their rates
        then contradict their ratio. A timing of another batch stays.
        """

        def by_turns(timing: Timing | None) -> Timing | None:
            if timing is None or timing.batch != self.batch:
                return timing
            return summarise(
                self.seconds.tolist(),
                TURN_WARMUP,
                self.batch,
                timing.gmac_per_image,
                timing.peak_memory_bytes,
                timing.peak_memory_kind,
            )

        return replace(
            speed,
            decode=by_turns(speed.decode) or speed.decode,
            decode_single=by_turns(speed.decode_single),
            comparison=self.comparison,
            warning=speed.warning or self.warning,
        )


@torch.inference_mode()
def compare_by_turns(
    tokenizers: Mapping[str, LoadedTokenizer],
    baseline: str,
    examples: Examples,
    settings: Settings,
    turns: int = TURNS,
) -> dict[str, Turns]:
    """Time the decoders of several tokenizers by turns; all are in memory at the same time.

    All take the same batch, which is halved until it fits for each of them.

    Args:
        tokenizers: by a name of the caller's.
        baseline: name of the one that the others are compared with.
        examples: see :func:`ssdd_bench.evaluation.work.first_images`.
        settings: how the tokenizers are evaluated.
        turns: timed calls of each.

    Returns:
        The calls by name, without those that run on another device than the baseline, such as
        codecs beside networks on a GPU.

    Raises:
        UserError: not even one image fits into memory.
    """
    device = tokenizer_device(tokenizers[baseline].tokenizer, settings.device)
    splitter = OOMSplitter(choose_batches(settings.batch_size, device).scores, device)
    there: dict[str, PreparedTokenizer] = {}
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
            there[name] = prepared

        def time(batch: int) -> dict[str, NDArray[np.float64]]:
            """Return seconds per call of each turn, by name."""
            if settings.execution.compile != "off" and batch < largest:
                torch.compiler.reset()  # frees the graphs that did not fit
            timed = {
                name: TimedImages(
                    one.tokenizer, examples, batch, one.protocol, settings.seed, device
                )
                for name, one in there.items()
            }
            seconds = time_by_turns([one.decode for one in timed.values()], device, turns)
            return {
                name: taken / one.calls
                for (name, one), taken in zip(timed.items(), seconds.T, strict=True)
            }

        largest = splitter.size
        warning = load_warning()
        found = splitter.fit(time)
    label, batch = job_label(tokenizers[baseline], settings), splitter.size

    def compare(seconds: NDArray[np.float64]) -> SpeedComparison:
        return SpeedComparison(label, *speed_ratio(found[baseline], seconds), turns, batch)

    return {
        name: Turns(seconds, batch, None if name == baseline else compare(seconds), warning)
        for name, seconds in found.items()
    }
