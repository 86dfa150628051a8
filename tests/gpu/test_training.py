"""Every stage of training on a GPU: finite losses, weights that move, and a run that is resumed."""

import math
from dataclasses import replace

import pytest
import small_recipe
import torch

from ssdd_bench.data.images import open_images
from ssdd_bench.train.pipeline import make_trainer, start_file
from ssdd_bench.train.recipe import SSDD_STAGES, STAGES, Recipe, load_recipe

ITERATIONS = 20


@pytest.fixture(scope="module")
def recipe(small):
    """Networks and crops of a few channels and pixels."""
    crops = {} if small else {"batch_size": 4, "side": 64, "max_side": 80}
    found = small_recipe.small(load_recipe("mini-f8c4", Recipe), **crops)
    return replace(found, optimiser=replace(found.optimiser, bf16=True))


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(10, (96, 80)))


@pytest.fixture(scope="module")
def earlier(photos, recipe, device, tmp_path_factory):
    """Return a folder with weights of the stages of SSDD, not trained."""
    out = tmp_path_factory.mktemp("earlier")
    for name in SSDD_STAGES[:3]:
        run = trainer(name, recipe, photos, out, out)
        run.save_weights("last")
        run.save_weights("best")
    return out


def trainer(name, recipe, photos, out, earlier):
    start = start_file(name, recipe, earlier)
    made = make_trainer(name, recipe, photos, out, start, command="test")
    made.evaluator = None  # no scores
    return made


def check(run, until, device):
    before = {k: v.clone().cpu() for k, v in run.stage.networks.state_dict().items()}
    reports = list(run.run(until))
    assert run.accelerator.device.type == device.type
    assert {p.device.type for p in run.stage.networks.parameters()} == {device.type}
    assert run.iteration == until
    assert reports
    for report in reports:
        assert all(math.isfinite(value) for value in report.losses.values()), report
    after = run.stage.networks.state_dict()
    assert any(not torch.equal(before[key], after[key].cpu()) for key in before)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_trains_and_resumes(name, recipe, photos, earlier, device, tmp_path):
    check(trainer(name, recipe, photos, tmp_path, earlier), ITERATIONS // 2, device)
    second = trainer(name, recipe, photos, tmp_path, earlier)
    second.resume()
    assert second.iteration == ITERATIONS // 2
    check(second, ITERATIONS, device)


@pytest.mark.slow
def test_compiled_with_a_discriminator(recipe, photos, earlier, device, tmp_path):
    """The adaptive weight differentiates twice through a graph that was compiled."""
    compiled = replace(recipe, optimiser=replace(recipe.optimiser, compile=True))
    check(trainer("klvae", compiled, photos, tmp_path, earlier), 10, device)
