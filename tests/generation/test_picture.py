"""The picture of samples: images in their places, labels that fit."""

import numpy as np
from PIL import ImageChops

from ssdd_bench.generation.picture import GAP, draw_columns


def flat(level: int) -> np.ndarray:
    return np.full((32, 32, 3), level, np.uint8)


def test_images_stand_in_their_columns_with_gaps() -> None:
    columns = [[flat(10), flat(20)], [flat(30)]]
    picture = np.asarray(draw_columns(columns, ["a", "b"], 32))
    top = picture.shape[0] - 2 * (32 + GAP)
    assert picture.shape[1] == 2 * 32 + 3 * GAP
    for column, images in enumerate(columns):
        for row, image in enumerate(images):
            x, y = GAP + column * (32 + GAP), top + row * (32 + GAP)
            assert np.array_equal(picture[y : y + 32, x : x + 32], image)
            assert (picture[y + 32 : y + 32 + GAP, x : x + 32] == 255).all()
            assert (picture[y : y + 32, x + 32 : x + 32 + GAP] == 255).all()
    assert (picture[top + 36 :, 32 + 2 * GAP :] == 255).all()  # the second has one image


def test_labels_keep_to_their_columns() -> None:
    """A long label is cut: it changes nothing above the other column."""
    columns = [[flat(0)], [flat(0)]]
    plain, short, long = (
        draw_columns(columns, [label, ""], 32) for label in ("", "cat", "a very long name")
    )
    for labelled in (short, long):
        box = ImageChops.difference(plain, labelled).getbbox()
        assert box is not None
        assert 0 <= box[0] < box[2] <= 32 + 2 * GAP
    assert short != long
