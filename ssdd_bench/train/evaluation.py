"""Scores during training, by the harness itself: what a later ``ssdd-bench run`` would find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ssdd_bench.data.loader import iterate_batches
from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.evaluation.measure import save_picture
from ssdd_bench.evaluation.reconstruct import reconstruct
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.registry import load_tokenizer
from ssdd_bench.protocols.schema import get_protocol
from ssdd_bench.train.recipe import EvaluationRecipe
from ssdd_bench.train.stages.base import Stage


class Evaluator:
    """Scores weights on photographs that the training does not see.

    Args:
        recipe: images, resolution, protocol and metrics.
        source: the images held out.
        device: to decode on.
        pictures: folder for a picture of the first reconstructions at every evaluation.
    """

    BATCH = 16  # on a GPU

    def __init__(
        self, recipe: EvaluationRecipe, source: ImageSource, device: torch.device, pictures: Path
    ) -> None:
        self.recipe = recipe
        self.source = limited(source, min(recipe.images, len(source)))
        self.device = device
        self.pictures = pictures
        self.protocol = get_protocol(recipe.protocol)
        self._higher_is_better = find_metrics("pairs")[recipe.metrics[0]].higher_is_better

    def score(self, weights: Path, stage: Stage, iteration: int) -> dict[str, float]:
        """Values by metric; one whose weights are not on this machine is left out."""
        if stage.exports == "klvae":
            tokenizer = load_tokenizer("klvae", self.device, path=str(weights))
        else:
            steps = stage.steps() or 1
            tokenizer = load_tokenizer("ssdd", self.device, checkpoint=str(weights), steps=steps)
        batch = 1 if self.device.type == "cpu" else self.BATCH
        protocol = self.protocol
        loader = iterate_batches(
            self.source, self.recipe.resolution, protocol.crop, batch, strict=False
        )
        with MetricSuite(
            self.recipe.metrics, self.device, protocol.metric_batch, protocol.metric_options
        ) as suite:
            seen = reconstruct(tokenizer, loader, suite, protocol, 0, self.device)
            values = suite.compute().values
        save_picture(seen, self.pictures / f"{iteration:07}.png")
        return {key: value.value for key, value in values.items() if value.value is not None}

    def merit(self, scores: dict[str, float]) -> float | None:
        """The first metric as a number of which more is better; None where it was not measured."""
        value = scores.get(self.recipe.metrics[0])
        if value is None:
            return None
        return value if self._higher_is_better else -value

    def facts(self, stage: Stage) -> dict[str, Any]:
        """What the scores depend on, for the card."""
        return {
            "images": f"{len(self.source)} of {self.source.name} that were not trained on",
            "n": len(self.source),
            "resolution": self.recipe.resolution,
            "protocol": self.recipe.protocol,
            "steps": stage.steps(),
            "seed": 0,
        }
