"""Images in memory: their ids, and what is taken for an image."""

import numpy as np
import pytest
import torch
from encoded_images import assert_pixels, photo
from PIL import Image

from ssdd_bench.data.memory import MemoryImages, as_source, is_paths, to_tensor
from ssdd_bench.data.source import limited
from ssdd_bench.errors import DataError, UserError

PHOTO = photo(0)
PIXELS = np.asarray(PHOTO)  # (10, 12, 3)
TENSOR = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)


class DataSet:
    """The least that a data set of torch has."""

    def __getitem__(self, index: int) -> Image.Image:
        if index == 2:
            raise IndexError
        return photo(index)


class Cycle:
    """A data set of torch that has a length, and an item for every index."""

    def __getitem__(self, index: int) -> Image.Image:
        assert index < 2, "read past its end"
        return photo(index % 2)

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("data", "ids", "numbered"),
    [
        ([PHOTO, PHOTO], ("000000", "000001"), True),
        (np.stack([PIXELS, PIXELS]), ("000000", "000001"), True),
        (torch.stack([TENSOR, TENSOR]), ("000000", "000001"), True),
        (DataSet(), ("000000", "000001"), True),
        (Cycle(), ("000000", "000001"), True),
        ([("b", PHOTO), ("a", PHOTO)], ("a", "b"), False),
        ({"b": PHOTO, "a": PHOTO}, ("a", "b"), False),
        ([("b", PHOTO), PHOTO], ("000001", "b"), False),
        ([np.stack([PIXELS, PIXELS])], ("000000",), True),  # no pair, though two
        ([("a", PHOTO, 0), (0, PHOTO)], ("000000", "000001"), True),
    ],
)
def test_ids_are_positions_or_those_that_are_given(data, ids, numbered):
    source = as_source(data)
    assert (source.ids, source.numbered, source.name) == (ids, numbered, "memory")


def test_a_generator_is_read_once():
    source = as_source(one for one in [PHOTO, PHOTO])
    assert (source.ids, source.numbered, source.name) == (("000000", "000001"), True, "memory")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PHOTO, PHOTO),
        (PHOTO.convert("L"), PHOTO.convert("L").convert("RGB")),
        (PIXELS, PHOTO),
        (PIXELS[:, ::-1], Image.fromarray(PIXELS[:, ::-1].copy())),
        (TENSOR, PHOTO),
        (TENSOR.double() / 255, PHOTO),
        (torch.tensor([0.0, 0.25, 1.0]).view(3, 1, 1), Image.new("RGB", (1, 1), (0, 64, 255))),
    ],
)
def test_images_are_read_as_they_are(image, expected):
    assert_pixels(as_source([("x", image)]).read("x"), expected)
    assert MemoryImages({"x": image}).numbered is False


@pytest.mark.parametrize(
    ("image", "token"),
    [
        (torch.zeros(4, 3, 3), r"\(4, 3, 3\)"),
        (torch.zeros(3, 4), r"\(3, 4\)"),
        (torch.full((3, 1, 1), -0.125), "-0.125 to -0.125"),
        (torch.full((3, 1, 1), 1.0001), r"1\.0001.*clamp"),
        (torch.full((3, 1, 1), torch.nan), "nan"),
        (PIXELS / 255, "float64"),
        (PIXELS[0], r"\(12, 3\)"),
        (PIXELS[:, :, :2], r"\(10, 12, 2\)"),
        (TENSOR.int(), "int32"),
        ((PHOTO, 3), "tuple"),  # an image and its label
        ((TENSOR, 3), "tuple"),
    ],
)
def test_what_is_no_image_is_an_error_of_that_image(image, token):
    """It is the caller's, so that it is no DataError, which would leave the image out."""
    source = as_source([image, PHOTO])
    with pytest.raises(UserError, match=f"'000000': .*{token}") as raised:
        source.read("000000")
    assert not isinstance(raised.value, DataError)
    assert_pixels(source.read("000001"), PHOTO)


@pytest.mark.parametrize(
    ("data", "token"),
    [
        (PHOTO, "Image"),
        (5, "int"),
        (TENSOR, r"\(3, 10, 12\)"),
        (PIXELS, r"\(10, 12, 3\)"),
        ([("a", PHOTO), ("a", PHOTO)], "'a'"),
        ([PHOTO, ("000000", PHOTO)], "'000000'"),
        (iter([]), "no image"),
        (torch.zeros(0, 3, 4, 4), "no image"),
    ],
)
def test_what_holds_no_images_is_refused(data, token):
    with pytest.raises(DataError, match=token):
        as_source(data)


@pytest.mark.parametrize("path", [None, "a", ["a", "b"], ("a",)])
def test_paths_are_told_from_images(path):
    assert is_paths(path)
    assert not is_paths([])
    assert not is_paths(["a", PHOTO])
    assert not is_paths(PHOTO)


def test_the_default_is_the_sample():
    assert len(as_source(None)) == 35
    assert as_source(None, sample=5).ids == limited(as_source(None), 5).ids
    assert as_source([PHOTO] * 9, 3).ids == limited(as_source([PHOTO] * 9), 3).ids
    assert (
        as_source(None, 2, sample=5, sample_seed=1).ids
        == as_source(as_source(None), 2, sample=5, sample_seed=1).ids
    )


def test_tensors_have_their_channels_first():
    tensor = to_tensor(PHOTO)
    assert (tensor.dtype, tensor.shape) == (torch.uint8, (3, 10, 12))
    assert tensor.is_contiguous()
    assert torch.equal(tensor, TENSOR)
