"""Training crops are a pure function of their number, and never of a photograph held out."""

from dataclasses import replace
from itertools import repeat

import pytest
import torch
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.data.source import limited
from ssdd_bench.errors import DataError
from ssdd_bench.train.batches import CropBatches, Shard
from ssdd_bench.train.recipe import Recipe, load_recipe

STAGE = replace(
    load_recipe("mini-f8c4", Recipe).encoder, batch_size=2, resolution=32, min_side=32, max_side=48
)


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(10, (64, 48)))


def test_crops_depend_on_seed_and_number_only(photos):
    stream = CropBatches(photos, STAGE, 0.1, seed=3)
    four = next(stream(repeat(Shard(iteration=1, start=0, size=4, batch_size=4))))
    twos = stream(Shard(1, start, 2, 4) for start in (0, 2, 0, 2, 0))
    assert torch.equal(four, torch.cat([next(twos), next(twos)]))
    other = CropBatches(photos, STAGE, 0.1, seed=4)
    assert not torch.equal(four, next(other(repeat(Shard(1, 0, 4, 4)))))
    assert four.min() >= -1
    assert four.max() <= 1


def test_one_epoch_sees_every_training_photo_once(photos, monkeypatch):
    stream = CropBatches(photos, STAGE, 0.1, seed=0)
    seen = []
    read = photos.read
    monkeypatch.setattr(photos, "read", lambda name: (seen.append(name), read(name))[1])
    for n in range(len(stream.ids)):
        stream.crop(n)
    assert sorted(seen) == sorted(stream.ids)


def test_held_out_photos_are_those_that_a_limited_run_scores(photos):
    batches = CropBatches(photos, STAGE, 0.3, seed=0)
    scored = set(limited(photos, 3).ids)
    assert scored == set(batches.held_out.ids) == set(photos.ids) - set(batches.ids)
    everything = CropBatches(photos, STAGE, 0.0, seed=0)
    assert everything.ids == photos.ids
    assert everything.held_out is None


def test_a_line_of_pixels_is_named_before_memory_runs_out(tmp_path):
    Image.new("RGB", (1000, 1)).save(tmp_path / "line.png")
    recipe = replace(STAGE, min_side=48, max_side=49)
    with pytest.raises(DataError, match=r"line\.png.* 48000 x 48 pixels are 7 MB"):
        CropBatches(open_images(tmp_path, max_image_mb=6), recipe, 0.0, seed=0).crop(0)
    larger = CropBatches(open_images(tmp_path, max_image_mb=7), recipe, 0.0, seed=0)
    assert larger.crop(0).shape == (32, 32, 3)
