"""Crops, compiled stages and memory formats of a training on a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.train import decoded
from ssdd_bench.train.batches import CropBatches, Shard
from ssdd_bench.train.decoded import DecodedCrops
from ssdd_bench.train.pipeline import make_trainer
from ssdd_bench.train.recipe import SSDD_STAGES, STAGES, Recipe, load_recipe


@pytest.fixture(scope="module")
def recipe():
    """The long recipe in small batches: compiled, bfloat16, photos on the device."""
    found = load_recipe("mini-f8c4-long", Recipe)
    tables = {name: replace(found.stage(name), batch_size=4) for name in STAGES}
    tables["klvae"] = replace(tables["klvae"], gan_start=3)
    return replace(found, **tables)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detail")
    rng = np.random.default_rng(0)
    for index, size in enumerate([(300, 260), (270, 420), (640, 520), (70, 90)]):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return open_images(folder)


def crops(kind, photos, recipe, device):
    made = kind(photos, recipe.encoder, 0.0, 0)
    batches = made((Shard(i, 0, 32, 32) for i in range(10)), device)
    found = torch.cat([next(batches) for _ in range(2)])
    assert found.device.type == device.type
    batches.close()
    return made, ((found + 1) * 127.5).round().int().cpu()


@pytest.mark.parametrize("share", [decoded.DEVICE_SHARE, 0.0], ids=["device", "host"])
def test_crops_are_those_from_files(share, photos, recipe, device, monkeypatch):
    """Also where a GPU has no room for the photos."""
    monkeypatch.setattr(decoded, "DEVICE_SHARE", share)
    made, found = crops(DecodedCrops, photos, recipe, device)
    assert (made._pixels is not None) is (device.type == "cuda" and share > 0)
    _, expected = crops(CropBatches, photos, recipe, torch.device("cpu"))
    assert (found - expected).abs().max() <= 1
    assert (found != expected).float().mean() < 0.01


def test_crops_do_not_wait_for_the_device(photos, recipe, device):
    """The loop only starts copies and kernels if photos are on a GPU."""
    if device.type != "cuda":
        pytest.skip("a CPU is not waited for")
    made = DecodedCrops(photos, recipe.encoder, 0.0, 0)
    batches = made((Shard(i, 0, 32, 32) for i in range(10)), device)
    next(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            next(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        batches.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["klvae", "encoder", "distil"])
def test_long_recipe_trains_compiled(name, photos, recipe, device, tmp_path):
    start = None
    if name in SSDD_STAGES[1:]:
        start = make_trainer("encoder", recipe, photos, tmp_path).save_weights("last")
    run = make_trainer(name, recipe, photos, tmp_path, start)
    reports = list(run.run(8))
    assert all(torch.isfinite(value).all() for value in run.averaged_weights().values())
    assert reports
    if device.type == "cuda":
        weight = next(p for p in run.stage.parameters() if p.ndim == 4 and min(p.shape) > 1)
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert all(module._compiled_call_impl is not None for module in run.stage.called())


def test_an_iteration_does_not_wait_for_the_device(photos, recipe, device, tmp_path):
    if device.type != "cuda":
        pytest.skip("a CPU is not waited for")
    eager = replace(recipe, optimiser=replace(recipe.optimiser, compile=False))
    run = make_trainer("encoder", eager, photos, tmp_path)
    run.start()
    batches = run.batches()
    run.step(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.step(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    run.losses.read()
