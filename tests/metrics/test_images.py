"""Images are prepared alike by any number of threads, and networks take what fits into memory."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.api import memory
from ssdd_bench.errors import UserError
from ssdd_bench.metrics import images as module
from ssdd_bench.metrics.images import Parts, resize


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_no_pixel(threads, monkeypatch, photo_like):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    images = photo_like(5, side=50)
    found = resize(images, 24)
    for image, small in zip(images, found, strict=True):
        array = image.permute(1, 2, 0).contiguous().numpy()
        expected = np.asarray(Image.fromarray(array).resize((24, 24), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(small.permute(1, 2, 0).numpy(), expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not [one for one in threading.enumerate() if one.name.startswith("resize")]


def test_sides_of_any_ratio_become_a_square():
    image = torch.arange(3 * 5 * 9, dtype=torch.uint8).reshape(1, 3, 5, 9)
    found = resize(image, 7)
    pixels = Image.fromarray(image[0].permute(1, 2, 0).contiguous().numpy())
    expected = np.array(pixels.resize((7, 7), Image.Resampling.BICUBIC))
    assert found.shape == (1, 3, 7, 7)
    np.testing.assert_array_equal(found[0], expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("threads", "images", "expected"),
    [(3, 5, 3), (3, 2, 2), (3, 1, 1), (1, 5, 1), (99, 12, 8), (99, 7, 7), (2, 9, 2)],
)
def test_how_many_threads_resize(threads, images, expected, monkeypatch):
    made, kind = [], module.ThreadPoolExecutor

    def make(count, **named):
        made.append(count)
        assert named == {"thread_name_prefix": "resize"}
        return kind(count, **named)

    monkeypatch.setattr(module, "ThreadPoolExecutor", make)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = resize(
        torch.arange(images, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2), 3
    )
    assert made == [expected]
    assert found[:, 1, 2, 0].tolist() == list(range(images))


class OnDevice(list):
    """A batch that is not on the CPU."""

    is_cpu = False
    device = torch.device("meta")


def test_parts_on_a_gpu_are_halved_and_cover_all_batches(monkeypatch):
    monkeypatch.setattr(memory, "release_memory", lambda device: None)
    tried = []

    def call(first, second):
        tried.append(len(first))
        if len(first) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return list(zip(first, second, strict=True))

    parts = Parts(1)
    first, second = OnDevice(range(10)), OnDevice("abcdefghij")
    pairs = list(zip(first, second, strict=True))
    assert parts.call(call, first, second) == [
        pairs[:2],
        pairs[2:4],
        pairs[4:6],
        pairs[6:8],
        pairs[8:],
    ]
    assert tried == [10, 5, 2, 2, 2, 2, 2]
    assert parts.call(call, OnDevice([1, 2, 3]), [4, 5, 6]) == [[(1, 4), (2, 5)], [(3, 6)]]
    assert Parts(1).call(call, OnDevice([1, 2, 3]), [4, 5, 6]) == [[(1, 4), (2, 5), (3, 6)]]
    with pytest.raises(UserError, match="one image at a time on meta"):
        Parts(1).call(lambda one: call([1] * 4, one), OnDevice([1]))


def test_batches_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        Parts(4).call(lambda x, y: x, torch.zeros(10), torch.zeros(4))


def test_parts_on_a_cpu_have_one_size():
    sizes = []
    a = torch.arange(10)
    found = Parts(4).call(lambda x, y: sizes.append(len(x)) or x + y, a, 2 * a)
    assert sizes == [4, 4, 2]
    assert torch.equal(torch.cat(found), 3 * a)
