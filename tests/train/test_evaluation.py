"""The metric that chooses the best weights can be measured, or nothing is trained."""

from dataclasses import replace

import pytest
from small_recipe import small

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import OptionError, UnavailableError
from ssdd_bench.metrics.pixel_errors import MAE
from ssdd_bench.train.pipeline import make_trainer
from ssdd_bench.train.recipe import Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("quick_effnet")


@pytest.mark.medium
def test_a_missing_network_or_package_of_the_first_metric_is_named_before_the_training(
    make_photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("ssdd_bench.weights.assets.search_folders", lambda: (tmp_path,))
    recipe = small(load_recipe("mini-f8c4", Recipe))
    photos = open_images(make_photos(10, (64, 48)))

    def made(*metrics):
        scores = replace(recipe.evaluation, metrics=metrics)
        return make_trainer("encoder", replace(recipe, evaluation=scores), photos, tmp_path)

    with pytest.raises(UnavailableError, match=r"rfid.*weights fetch inception.*images = 0"):
        made("rfid", "psnr")

    def load(metric):
        raise UnavailableError("mae needs the package arithmetic")

    monkeypatch.setattr(MAE, "load", load)
    with pytest.raises(UnavailableError, match=r"the best mae.*needs the package"):
        made("mae", "psnr")
    assert made("psnr", "rfid").evaluator is not None  # others are left out, as in every run


@pytest.mark.medium
@pytest.mark.parametrize(("asked", "expected"), [(0, 64), (48, 48)])
def test_a_stage_is_scored_at_its_own_resolution_unless_told_otherwise(
    asked, expected, make_photos, tmp_path
):
    recipe = small(load_recipe("mini-f8c4", Recipe))
    scores = replace(recipe.evaluation, resolution=asked, metrics=("psnr",), images=2)
    recipe = replace(recipe, evaluation=scores, encoder=replace(recipe.encoder, resolution=64))
    trainer = make_trainer("encoder", recipe, open_images(make_photos(10, (64, 64))), tmp_path)
    path = trainer.save_weights("last")
    assert trainer.evaluator.score(path, 0).resolution == expected


@pytest.mark.medium
@pytest.mark.parametrize("photos", [2, 5])
def test_too_few_images_for_the_scores_are_refused_before_the_training(
    photos, make_photos, tmp_path
):
    recipe = small(load_recipe("mini-f8c4", Recipe))
    images, held = open_images(make_photos(photos, (64, 48))), photos // 5

    def made(**changed):
        scores = replace(recipe.evaluation, **changed)
        return make_trainer("klvae", replace(recipe, evaluation=scores), images, tmp_path)

    with pytest.raises(OptionError, match=rf"fd_effnet, which takes 2 images .* holds out {held}:"):
        made()
    assert made(images=0).evaluator is None
    assert made(holdout=0.0).evaluator is None
    assert made(holdout=0.6 if photos == 5 else 0.5, metrics=("psnr",)).evaluator is not None
