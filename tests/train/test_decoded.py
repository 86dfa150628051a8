"""Crops from memory are those from files: same places, same filter, pixels within a level."""

from collections import Counter
from dataclasses import replace
from itertools import repeat

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError, OptionError
from ssdd_bench.train.batches import CropBatches, Shard
from ssdd_bench.train.decoded import DecodedCrops, reduction, upload
from ssdd_bench.train.recipe import Recipe, load_recipe

CPU = torch.device("cpu")
STAGE = replace(
    load_recipe("mini-f8c4", Recipe).encoder, batch_size=64, resolution=32, min_side=32, max_side=90
)
SHARD = Shard(iteration=0, start=0, size=64, batch_size=64)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos with much detail: some are enlarged, others averaged over blocks first."""
    folder = tmp_path_factory.mktemp("decoded")
    rng = np.random.default_rng(0)
    for index, size in enumerate([(40, 60), (90, 70), (131, 97), (301, 203), (250, 333)]):
        noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        smooth = noise.resize((9, 9)).resize(size, Image.Resampling.BICUBIC)
        Image.blend(noise, smooth, 0.6).save(folder / f"{index}.png")
    return open_images(folder)


def levels(images):
    return ((images + 1) * 127.5).round().int()


def batch(made, shard=SHARD):
    return next(made(repeat(shard)))


def both(photos, stage):
    kinds = (CropBatches, DecodedCrops)
    return (levels(batch(kind(photos, stage, 0.0, 5))) for kind in kinds)


@pytest.mark.medium
def test_crops_are_those_from_files(photos):
    files, decoded = both(photos, STAGE)
    difference = (files - decoded).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.01
    factors = set()
    made = DecodedCrops(photos, STAGE, 0.0, 5)
    for n in SHARD.numbers:
        size = photos.read(photos.ids[made.photo(n)]).size
        place = made.place(n, size)
        factors.add(reduction(size, (place.width, place.height)))
    assert factors >= {(1, 1), (2, 2), (3, 3), (3, 2)}


@pytest.mark.medium
def test_wrong_filters_would_be_seen(photos, monkeypatch):
    files, _ = both(photos, STAGE)
    for name, value in (("LOBES", 2), ("REDUCING_GAP", 8.0)):
        with monkeypatch.context() as patch:
            patch.setattr(f"ssdd_bench.train.decoded.{name}", value)
            other = levels(batch(DecodedCrops(photos, STAGE, 0.0, 5)))
        assert ((files - other).abs() > 1).float().mean() > 0.01, name


def test_without_resizing_pixels_are_equal(tmp_path):
    rng = np.random.default_rng(1)
    for index in range(3):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    stage = replace(STAGE, min_side=48, max_side=49)
    files, decoded = both(open_images(tmp_path), stage)
    assert torch.equal(files, decoded)
    assert len({image.numpy().tobytes() for image in decoded}) > 60  # other places and mirrors


@pytest.mark.medium
def test_pixels_on_a_device_give_the_same_crops(photos):
    """The way of a GPU, on the CPU: windows are cut by an index into all pixels."""
    made = DecodedCrops(photos, STAGE, 0.0, 5)
    host = batch(made)
    made._pixels = upload(made._photos, CPU)
    assert not any(photo.levels for photo in made._photos)
    assert torch.equal(batch(made), host)


@pytest.mark.medium
def test_parts_of_a_batch_are_the_batch(photos, monkeypatch):
    made = DecodedCrops(photos, STAGE, 0.0, 5)
    whole = batch(made)
    twos = made(Shard(0, start, 32, 64) for start in (0, 32, 0, 32, 0))
    torch.testing.assert_close(torch.cat([next(twos), next(twos)]), whole, atol=0.01, rtol=0)
    monkeypatch.setattr("ssdd_bench.train.decoded.PART", 1)
    torch.testing.assert_close(batch(made), whole, atol=0.01, rtol=0)
    assert whole.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.medium
def test_distribution_is_that_of_the_recipe(photos):
    """Lengths of the shorter side, positions and mirrors are uniform, photos equally often."""
    made = DecodedCrops(photos, STAGE, 0.0, 0)
    count = 4000
    size = (400, 300)
    places = [made.place(n, size) for n in range(count)]
    shorter = np.array([place.height for place in places])
    assert (shorter.min(), shorter.max()) == (32, 89)
    error = 4 * (58**2 / 12 / count) ** 0.5
    assert abs(shorter.mean() - 60.5) < error
    left = np.array([p.left / (p.width - 32) for p in places if p.width > 32])
    top = np.array([(p.top + 0.5) / (p.height - 31) for p in places])
    for values in (left, top):
        assert abs(values.mean() - 0.5) < 4 * (1 / 12 / count) ** 0.5
        assert abs(values.std() - 12**-0.5) < 0.02
    assert abs(sum(p.mirrored for p in places) / count - 0.5) < 4 * 0.5 / count**0.5
    assert set(Counter(made.photo(n) for n in range(count)).values()) == {count // 5}


@pytest.mark.slow
def test_moments_of_pixels_are_those_from_files(photos):
    """Compare other crops: seeds differ, so nothing is equal but the distribution."""
    shard = Shard(0, 0, 400, 400)
    means = []
    for kind, seed in ((CropBatches, 1), (DecodedCrops, 2)):
        images = batch(kind(photos, STAGE, 0.0, seed), shard)
        means.append((images.mean(dim=(2, 3)), images.std(dim=(2, 3))))
    for files, decoded in zip(*means, strict=True):
        error = (files.var(0) / len(files) + decoded.var(0) / len(decoded)).sqrt()
        assert ((files.mean(0) - decoded.mean(0)).abs() < 4 * error).all()


def test_photos_that_need_too_much_memory_are_refused(photos, monkeypatch):
    free = psutil.virtual_memory()._replace(available=100_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(OptionError, match=r"0\.0 GB are free: set photos = .files"):
        batch(DecodedCrops(photos, STAGE, 0.0, 0))


def test_an_unreadable_photo_is_named(tmp_path, make_photos):
    source = open_images(make_photos(3, (64, 48)))
    (broken := next(iter(source.ids)))

    def read(name, real=source.read):
        if name == broken:
            raise DataError("truncated")
        return real(name)

    source.read = read
    with pytest.raises(DataError, match=f"{broken}: truncated"):
        batch(DecodedCrops(source, STAGE, 0.0, 0))
