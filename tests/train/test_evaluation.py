"""The metric that chooses the best weights can be measured, or nothing is trained."""

from dataclasses import replace

import pytest
from small_recipe import small

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import UnavailableError
from ssdd_bench.train.pipeline import make_trainer
from ssdd_bench.train.recipe import Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("quick_effnet")


@pytest.mark.medium
def test_a_missing_network_of_the_first_metric_is_named_before_the_training(
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
    assert made("psnr", "rfid").evaluator is not None  # others are left out, as in every run
