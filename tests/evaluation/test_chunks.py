"""The grid is a function of the number of images; states survive a file."""

import hashlib

import numpy as np
import pytest

from ssdd_bench.evaluation.chunks import Grid, PixelDigest


@pytest.mark.parametrize(
    ("images", "count", "size"),
    [
        (1, 1, 64),
        (35, 1, 64),
        (64, 1, 64),
        (65, 2, 64),
        (800, 13, 64),
        (2048, 16, 128),
        (5000, 20, 256),
        (50_000, 98, 512),
        (512 * 4096, 4096, 512),
        (512 * 4096 + 1, 2049, 1024),
        (1_281_167, 2503, 512),
        (400_000_000, 3052, 131_072),
    ],
)
def test_size_and_number_of_chunks(images, count, size):
    grid = Grid.of(images)
    assert (len(grid), grid.size) == (count, size)
    assert sum(grid.sizes) == images
    assert set(grid.sizes[:-1]) <= {size}
    assert 0 < grid.sizes[-1] <= size


def test_parts_are_consecutive_and_cover_everything():
    grid = Grid.of(200)
    places = range(200)
    assert [place for chunk in range(len(grid)) for place in places[grid.part(chunk)]] == [*places]


def test_a_single_chunk_where_the_order_counts():
    assert Grid.of(50_000, whole=True).sizes == (50_000,)


def test_pixel_digest_depends_on_ids_pixels_and_order_but_not_on_batches():
    def digest(*batches):
        found = PixelDigest()
        for ids, hashes in batches:
            found.update(ids, hashes)
        return found.hexdigest()

    whole = digest((["a", "b"], [b"1" * 16, b"2" * 16]))
    assert digest((["a"], [b"1" * 16]), ([], []), (["b"], [b"2" * 16])) == whole
    assert digest((["b", "a"], [b"2" * 16, b"1" * 16])) != whole
    assert digest((["a", "b"], [b"1" * 16, b"3" * 16])) != whole
    assert digest((["a1", "b"], [b"1" * 16, b"2" * 16])) != whole
    text = b"".join(
        len(name).to_bytes(8, "big") + name + one
        for name, one in ((b"a", b"1" * 16), (b"b", b"2" * 16))
    )
    assert whole == hashlib.sha256(text).hexdigest()
    assert digest((["\udcff.png"], map(bytes, np.zeros((1, 16), np.uint8))))
