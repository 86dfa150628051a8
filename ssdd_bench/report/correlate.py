"""Do scores of reconstructions predict scores of generation? Rank correlation over tokenizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.results.fingerprint import canonical_json
from ssdd_bench.results.schema import Result

LEAST = 3  # pairs: two always agree or disagree entirely


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation between two scores over tokenizers, all else equal.

    Attributes:
        reconstruction: key of the score of reconstructions.
        generation: key of the score of generated images.
        settings: what the generated rows share: network (its patch aside), sampler, guidance,
            image size and reference.
        value: from -1 to 1; positive where a better reconstruction goes with a better generation.
        labels: the tokenizers, with both scores, means over seeds.
    """

    reconstruction: str
    generation: str
    settings: str
    value: float
    labels: tuple[tuple[str, float, float], ...]


def correlate(results: Sequence[Result], first: str, second: str) -> list[Correlation]:
    """Pair rows of reconstructions with rows of generation by tokenizer, options and resolution.

    Args:
        results: of both kinds.
        first: score of reconstructions.
        second: score of generated images.

    Returns:
        One for each setting of generation with at least three tokenizers.

    Raises:
        UserError: there is none.
    """
    restored: dict[str, list[float]] = defaultdict(list)
    drawn: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    labels: dict[str, str] = {}
    better: dict[str, bool] = {}
    for result in results:
        key = first if result.generation is None else second
        metric = result.metrics.get(key)
        if metric is None or metric.value is None:
            continue
        better[key] = metric.higher_is_better
        which = canonical_json([result.tokenizer.id, result.tokenizer.options, result.resolution])
        if result.generation is None:
            labels[which] = result.tokenizer.label
            restored[which].append(metric.value)
        else:
            drawn[_settings(result)][which].append(metric.value)
    found = []
    for settings, scores in drawn.items():
        both = sorted(restored.keys() & scores.keys(), key=labels.__getitem__)
        if len(both) < LEAST:
            continue
        rows = [(labels[one], fmean(restored[one]), fmean(scores[one])) for one in both]
        frame = pd.DataFrame(rows, columns=["label", "first", "second"])
        value = float(frame["first"].rank().corr(frame["second"].rank()))
        sign = 1.0 if better[first] == better[second] else -1.0
        found.append(Correlation(first, second, settings, sign * value, tuple(rows)))
    if not found:
        raise UserError(
            f"no setting has {LEAST} tokenizers with both {first} of reconstructions and {second} "
            "of generated images: measure more with `ssdd-bench run` and `ssdd-bench gen all`"
        )
    return found


def _settings(result: Result) -> str:
    one = result.generation
    assert one is not None
    size = one.model.partition("/")[0]  # latents of fewer cells have smaller patches
    interval: Any = "" if one.guidance_interval == (0.0, 1.0) else f" in {one.guidance_interval}"
    return (
        f"{size}, {one.sampler} {one.steps}, cfg {one.guidance_scale:g}{interval}, "
        f"{result.resolution} px, {result.data.n} samples against {result.data.name}"
    )
