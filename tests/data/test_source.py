"""Fixed subsets of a set."""

import hashlib
import os

import pytest
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.data.memory import as_source
from ssdd_bench.data.source import ImageSource, Subset, class_names, hash_id, limited
from ssdd_bench.errors import DataError


class Named(ImageSource):
    name = "named"

    def __init__(self, count: int) -> None:
        self.ids = tuple(f"{i:05d}.png" for i in range(count))

    def read(self, image_id: str) -> Image.Image:
        return Image.new("RGB", (4, 4))


def test_a_seed_draws_other_images_and_none_those_of_a_limit():
    source = Named(2000)
    draws = {seed: limited(source, 100, seed).ids for seed in range(4)}
    assert draws[0] == limited(source, 100).ids
    assert draws[1] == limited(Named(2000), 100, 1).ids
    shared = {len(set(draws[a]) & set(draws[b])) for a in range(4) for b in range(a)}
    assert max(shared) < 20  # 5 are expected of independent draws
    for seed, ids in draws.items():
        assert list(ids) == sorted(ids)
        assert set(limited(source, 10, seed).ids) < set(ids)


def test_the_draw_is_pinned():
    """The same on every machine, and in every version."""
    digest = hashlib.sha256(b"7\x00a.png").digest()
    assert hash_id("a.png", 7) == digest
    assert hash_id("a.png", 0) == hash_id("a.png") == hashlib.sha256(b"a.png").digest()
    assert limited(Named(1000), 3).ids == ("00371.png", "00395.png", "00478.png")
    assert limited(Named(1000), 3, 7).ids == ("00619.png", "00682.png", "00941.png")


def test_a_limit_applies_to_the_sample(make_photos):
    folder = make_photos(12, (8, 8))
    drawn = as_source(folder, sample=6, sample_seed=3)
    few = as_source(str(folder), 2, sample=6, sample_seed=3)
    assert set(few.ids) < set(drawn.ids)
    assert as_source(open_images(folder), sample=6, sample_seed=3).ids == drawn.ids
    assert few.ids == limited(drawn, 2).ids
    assert open_images(folder, 2).ids == limited(open_images(folder), 2).ids
    with pytest.raises(DataError, match="give 1 or more"):
        as_source(folder, sample=0)


def test_a_source_tells_its_limit_of_memory(make_photos):
    """It decides which images are left out, so results depend on it."""
    folder = make_photos(3, (8, 8))
    assert open_images(folder).max_mb == 256
    assert open_images(folder, 2, max_image_mb=7).max_mb == 7
    assert as_source(str(folder), sample=2, max_image_mb=7).max_mb == 7
    files = [folder / name for name in open_images(folder).ids]
    for several in (files, f"{folder}/*.png"):
        assert open_images(several, max_image_mb=7).max_mb == 7


def test_each_seed_draws_other_images(make_photos):
    folder = make_photos(3, (8, 8))
    assert as_source(folder, sample=1).ids == as_source(folder, sample=1, sample_seed=0).ids
    assert len({as_source(folder, sample=1, sample_seed=seed).ids for seed in range(40)}) == 3


def test_classes_are_folders():
    assert class_names(["b/1.png", "a/x/2.png"]) == ("b", "a/x")
    assert class_names(["1.png", "2.png"]) == (".", ".")
    with pytest.raises(DataError, match="1 of 3"):
        class_names(["a/1.png", "a/2.png", "3.png"])


def test_a_subset_is_like_its_source_and_errors_name_the_image():
    class Bad(Named):
        numbered = True
        max_mb = 7

        def read(self, image_id: str) -> Image.Image:
            if image_id == "00002.png":
                raise DataError("damaged")
            return Image.new("RGB", (int(image_id[:5]) + 1, 1))

    some = Subset(Bad(5), ["00003.png", "00002.png"])
    assert (some.name, some.numbered, some.max_mb) == ("named", True, 7)
    assert some.ids == ("00002.png", "00003.png")
    assert len(some) == 2
    assert some.read_named("00003.png").size == (4, 1)
    with pytest.raises(DataError, match=r"^named: 00002\.png: damaged$"):
        some.read_named("00002.png")
    assert limited(some, 2) is some
    assert limited(some, 1).ids == ("00003.png",)


def test_a_name_that_is_no_text_has_its_hash_too():
    assert hash_id(os.fsdecode(b"\xff.png")) == hashlib.sha256(b"\xff.png").digest()
