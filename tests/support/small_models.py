"""A tokenizer, its record and a recipe that take no time."""

import torch
import torch.nn.functional as F

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.results.schema import TokenizerRecord
from ssdd_bench.train.recipe import AdamWRecipe, DiTRecipe, DiTStageRecipe

CPU = torch.device("cpu")
RECIPE = DiTRecipe(
    dit=DiTStageRecipe(
        size="tiny",
        patch=1,
        objective="flow",
        label_dropout=0.2,
        times="logit-normal",
        iterations=6,
        lr=2e-3,
        batch_size=4,
        accumulate=1,
        evaluate_every=0,
    ),
    optimiser=AdamWRecipe(
        warmup=2,
        weight_decay=0.0,
        clip=1.0,
        ema_decay=0.9,
        ema_start=1,
        bf16=False,
        compile=False,
        seed=0,
    ),
)


class BlockMean(Tokenizer):
    """The mean of each 4 x 4 block, scaled and shifted so that statistics matter."""

    def __init__(self, scale=3.0, kind="continuous"):
        self.latent = LatentSpec(kind, f=4, channels=3)
        self.scale = scale

    def encode(self, images, noise=None):
        data = self.scale * F.avg_pool2d(images, 4) + 5
        if noise is not None:
            data = data + 0.1 * noise.normal(data.shape[1:])
        return Latent(data, tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        return F.interpolate((latent.data - 5) / self.scale, scale_factor=4)


def describe(label="block-mean", **options):
    return TokenizerRecord(
        label, "block-mean", options, label, "test", "", "1", "", False, {"w.bin": "ab" * 32}, 0, 0
    )
