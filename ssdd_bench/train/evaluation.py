"""Scores during training, equal to those that ``ssdd-bench run`` finds for the same weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from PIL import Image

from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import OptionError, UnavailableError, counted
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.examples import EXAMPLES, Examples
from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.results.files import write_atomically
from ssdd_bench.train.files import Scores
from ssdd_bench.train.stages.base import TokenizerStage

GPU_BATCH = 16


class Evaluator:
    """Scores weights on images that are not trained on.

    Every evaluation adds a picture of the first reconstructions to the folder ``pictures``.

    Raises:
        OptionError: the images are too few for the first metric, which chooses the best weights.
        UnavailableError: that metric needs a file or a package that is not on this machine.
        WeightsError: such a file is not what its publisher released.
    """

    def __init__(
        self,
        stage: TokenizerStage,
        source: ImageSource | None,
        device: torch.device,
        pictures: Path,
    ) -> None:
        self.stage, self.recipe = stage, stage.recipe.evaluation
        own = stage.recipe.stage(stage.name).resolution
        self.resolution = self.recipe.resolution or own
        self.device, self.pictures = device, pictures
        first = METRICS.get(self.recipe.metrics[0])
        self._higher_is_better = first.higher_is_better
        try:
            with MetricSuite([first.key], device, strict=True) as suite:
                least = suite.least  # and its package and its network can be loaded
        except UnavailableError as error:
            raise UnavailableError(
                f"{stage.name} keeps the weights with the best {first.key}, which cannot be "
                f"measured: {error}, or set images = 0 under [evaluation] in the recipe"
            ) from error
        count = 0 if source is None else min(self.recipe.images, len(source))
        if source is None or count < least:
            raise OptionError(
                f"{stage.name} keeps the weights with the best {first.key}, which takes "
                f"{counted(least, 'image')} or more, and the recipe holds out {count}: use more "
                "images, or set a larger holdout, or images = 0, under [evaluation]"
            )
        self.source = limited(source, self.recipe.images)

    def score(self, weights: Path, iteration: int) -> Scores:
        """Measure an exported weights file; a metric that is unavailable here is left out."""
        result = evaluate(
            self.stage.tokenizer(weights),
            data=self.source,
            resolution=self.resolution,
            protocol=self.recipe.protocol,
            metrics=self.recipe.metrics,
            device=self.device,
            batch_size=GPU_BATCH,
            progress=False,
        )
        assert result.examples is not None
        _save_picture(result.examples.first(EXAMPLES), self.pictures / f"{iteration:07}.png")
        return Scores(
            metrics={k: one.value for k, one in result.metrics.items() if one.value is not None},
            images=f"{len(self.source)} of {self.source.name} that were not trained on",
            n=len(self.source),
            resolution=self.resolution,
            protocol=self.recipe.protocol,
            steps=self.stage.steps,
            seed=0,
        )

    def selection_score(self, scores: Scores) -> float | None:
        """Return the first metric, negated if lower is better; None where it was not measured."""
        value = scores.metrics.get(self.recipe.metrics[0])
        if value is None:
            return None
        return value if self._higher_is_better else -value


def _save_picture(examples: Examples, path: Path) -> None:
    """Write the first images above their reconstructions as one PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = torch.stack((examples.references, examples.reconstructions))  # (2, N, 3, H, W)
    _, count, _, height, width = rows.shape
    grid = rows.permute(0, 3, 1, 4, 2).reshape(2 * height, count * width, 3)
    picture = Image.fromarray(grid.numpy())
    write_atomically(path, partial(picture.save, format="PNG"))
