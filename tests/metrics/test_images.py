"""Images are prepared alike by any number of threads, and networks take what fits into memory."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.errors import UserError
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


def test_parts_on_a_cpu_have_one_size():
    sizes = []
    a = torch.arange(10)
    found = Parts(4).call(lambda x, y: sizes.append(len(x)) or x + y, a, 2 * a)
    assert sizes == [4, 4, 2]
    assert torch.equal(torch.cat(found), 3 * a)


@pytest.mark.slow
def test_a_gpu_takes_whole_batches_and_halves_once_memory_is_full():
    """A meta tensor is not on the CPU either."""
    tried = []

    def call(images):
        tried.append(len(images))
        if len(images) > 20:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return len(images)

    parts = Parts(1)
    images = torch.empty(64, 3, 8, 8, device="meta")
    assert parts.call(call, images) == [16, 16, 16, 16]
    assert tried == [64, 32, 16, 16, 16, 16]
    assert parts.call(call, images[:20]) == [16, 4]  # what did not fit is not tried again


def test_one_image_that_does_not_fit():
    def call(images):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="one image"):
        Parts(1).call(call, torch.empty(2, 3, 8, 8, device="meta"))
