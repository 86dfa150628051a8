import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import BATCHES_AHEAD, ImageLoader
from ssdd_bench.data.preprocessing import adm_center_crop
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, UnknownNameError


def noise(seed: int, size: int = 40) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class Counted(ImageSource):
    """Images made on request, which knows how many were asked for."""

    def __init__(self, n: int, bad: tuple[int, ...] = ()) -> None:
        self.name = "counted"
        self.ids = tuple(f"{i:03d}" for i in range(n))
        self.bad = bad
        self.reads = 0
        self._lock = threading.Lock()

    def read(self, image_id: str) -> Image.Image:
        with self._lock:
            self.reads += 1
        if int(image_id) in self.bad:
            raise DataError("truncated")
        return noise(int(image_id))


def collected(loader):
    batches = list(loader)
    return [i for b in batches for i in b.ids], torch.cat([b.images for b in batches])


@pytest.mark.parametrize("threads", [0, 1, 3, 20])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_order_and_pixels_do_not_depend_on_batches_or_threads(batch_size, threads):
    loader = ImageLoader(Counted(11), 32, "adm", batch_size, threads=threads)
    ids, images = collected(loader)
    assert ids == [f"{i:03d}" for i in range(11)]
    assert images.dtype == torch.uint8
    expected = np.stack([adm_center_crop(noise(i), 32) for i in range(11)])
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1).numpy(), expected)


def test_last_batch_is_smaller():
    sizes = [len(b) for b in ImageLoader(Counted(10), 32, "adm", 4)]
    assert sizes == [4, 4, 2]


def grouped(source, size):
    return [source.ids[start : start + size] for start in range(0, len(source), size)]


@pytest.mark.parametrize("threads", [0, 3])
def test_no_batch_has_images_of_two_groups(threads):
    def load(n, batch_size, size, bad=()):
        source = Counted(n, bad)
        loader = ImageLoader(
            source, 32, "adm", batch_size, threads=threads, groups=grouped(source, size)
        )
        return [batch for batch, _ in loader.prepared(lambda batch: None)]

    batches = load(17, 4, 7)
    assert [len(b) for b in batches] == [4, 3, 4, 3, 3]
    assert [b.group for b in batches] == [0, 0, 1, 1, 2]
    assert [b.last for b in batches] == [False, True, False, True, True]
    assert [i for b in batches for i in b.ids] == [f"{i:03d}" for i in range(17)]
    assert [len(b) for b in load(8, 4, 4)] == [4, 4]
    # Bad images count where groups end.
    assert [b.ids for b in load(6, 4, 3, bad=(0,))] == [("001", "002"), ("003", "004", "005")]


def test_a_group_of_bad_images_ends_with_an_empty_batch():
    source = Counted(9, bad=(3, 4, 5, 8))
    loader = ImageLoader(source, 32, "adm", 2, groups=grouped(source, 3))
    batches = [batch for batch, _ in loader.prepared(lambda batch: len(batch))]
    assert [(b.ids, b.group, b.last) for b in batches] == [
        (("000", "001"), 0, False),
        (("002",), 0, True),
        ((), 1, True),
        (("006", "007"), 2, False),
        ((), 2, True),
    ]
    assert [tuple(b.skipped) for b in batches] == [(), (), ("003", "004", "005"), (), ("008",)]
    assert batches[2].images.shape == (0, 3, 32, 32)


def test_groups_in_any_order_and_nothing_but_bad_ones():
    source = Counted(6, bad=(4, 5))
    loader = ImageLoader(source, 32, "adm", 4, groups=[source.ids[4:], source.ids[:2]])
    batches = [batch for batch, _ in loader.prepared(lambda batch: None)]
    assert [b.ids for b in batches] == [(), ("000", "001")]
    alone = ImageLoader(source, 32, "adm", 4, groups=[source.ids[4:]])
    assert [len(batch) for batch, _ in alone.prepared(lambda batch: None)] == [0]


def test_bad_images_are_skipped_by_name_with_the_reason():
    loader = ImageLoader(Counted(9, bad=(0, 4, 8)), 32, "adm", 4)
    for _ in range(2):  # a second pass counts afresh
        batches = list(loader)
        assert [i for b in batches for i in b.ids] == ["001", "002", "003", "005", "006", "007"]
        skipped = {name: reason for b in batches for name, reason in b.skipped.items()}
        assert skipped == dict.fromkeys(("000", "004", "008"), "truncated")


def test_strict_stops_at_the_first_bad_image_in_order():
    loader = ImageLoader(Counted(9, bad=(4, 5)), 32, "adm", 2, strict=True)
    seen = []
    with pytest.raises(DataError, match="counted: 004: truncated"):
        seen.extend(batch.ids for batch in loader)
    assert seen == [("000", "001"), ("002", "003")]


def test_nothing_but_bad_images_is_an_error():
    with pytest.raises(DataError, match=r"counted: none of 3 images .* 000: truncated"):
        list(ImageLoader(Counted(3, bad=(0, 1, 2)), 32, "adm", 2))


@pytest.mark.parametrize("threads", [0, 2])
def test_look_ahead_is_bounded(threads):
    source = Counted(200)
    batches = iter(ImageLoader(source, 32, "adm", 4, threads=threads))
    for number in range(1, 4):
        next(batches)
        assert source.reads <= 4 * number + (4 * BATCHES_AHEAD + 2 + 4 if threads else 0)
    batches.close()  # leaves no thread behind
    assert not [t for t in threading.enumerate() if t.name.startswith("load")]


def test_batches_are_ready_before_they_are_asked_for():
    """Decoded, put together and prepared, all in the loading threads."""
    source, prepared, threads = Counted(40), [], set()
    everything = threading.Event()

    def prepare(batch):
        threads.add(threading.current_thread().name)
        prepared.append(batch.ids[0])
        if len(prepared) >= 4:
            everything.set()
        return len(batch)

    loader = ImageLoader(source, 32, "adm", 4, threads=2)
    batches = loader.prepared(prepare)
    for _ in range(3):
        batch, count = next(batches)
        assert count == len(batch) == 4
        time.sleep(0.05)  # the consumer's work
    assert everything.wait(5)
    assert all(name.startswith("load") for name in threads)
    rest = list(batches)
    assert [one.ids[0] for one, _ in rest] == [f"{4 * i:03d}" for i in range(3, 10)]


def test_an_error_while_preparing_surfaces_with_its_batch():
    def prepare(batch):
        return 1 / (int(batch.ids[0]) - 4)

    seen = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(
            batch.ids
            for batch, _ in ImageLoader(Counted(9), 32, "adm", 2, threads=3).prepared(prepare)
        )
    assert seen == [("000", "001"), ("002", "003")]


def test_small_images_are_enlarged_and_counted():
    loader = ImageLoader(Counted(3), 64, "adm", 2)
    _, images = collected(loader)
    assert images.shape == (3, 3, 64, 64)
    assert [batch.enlarged for batch in loader] == [2, 1]
    assert [batch.enlarged for batch in ImageLoader(Counted(3), 40, "adm", 2)] == [0, 0]


def test_defects_of_the_program_are_not_taken_for_bad_images():
    source = Counted(3)
    source.read = lambda image_id: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        list(ImageLoader(source, 32, "adm", 2))


def test_unknown_crop_is_named_at_once():
    with pytest.raises(UnknownNameError, match="bilinear"):
        ImageLoader(Counted(3), 32, "bilinaer", 2)


def test_files_on_disk_end_to_end(tmp_path):
    for i in range(5):
        noise(i, 33 + i).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:200])
    loader = ImageLoader(open_images(tmp_path), 32, "bilinear", 3)
    ids, images = collected(loader)
    assert ids == ["0.png", "1.png", "3.png", "4.png"]
    assert images.shape == (4, 3, 32, 32)
    assert [name for batch in loader for name in batch.skipped] == ["2.png"]
