import numpy as np
import pytest
import torchvision.transforms as T
from PIL import Image

from ssdd_bench.data.preprocessing import CROPS, adm_center_crop, bilinear_center_crop
from ssdd_bench.errors import DataError


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 10_000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


SIZES = [(64, 64), (65, 64), (64, 97), (127, 128), (128, 128), (129, 255), (500, 375), (301, 777)]


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS.keys())
@pytest.mark.parametrize("size", [*SIZES, (20, 31), (1, 1)])
def test_result_is_a_square_of_uint8(crop, size):
    pixels = crop(noise(*size), 64)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS.keys())
def test_image_of_the_right_size_is_untouched(crop):
    image = noise(64, 64)
    np.testing.assert_array_equal(crop(image, 64), np.asarray(image))


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS.keys())
def test_flat_image_stays_flat(crop):
    assert np.unique(crop(Image.new("RGB", (333, 215), (77, 77, 77)), 64)).tolist() == [77]


def halved(pixels: np.ndarray) -> np.ndarray:
    """Means of two columns, then of two rows, each rounded half up as Pillow does."""
    height, width, _ = pixels.shape
    rows = np.floor(pixels.reshape(height, width // 2, 2, 3).mean(2) + 0.5)
    return np.floor(rows.reshape(height // 2, 2, width // 2, 3).mean(1) + 0.5)


def test_adm_halves_by_box_down_to_below_twice_the_size():
    image = noise(256, 256)
    expected = halved(halved(np.asarray(image).astype(float)))  # lands on 64 exactly
    np.testing.assert_array_equal(adm_center_crop(image, 64), expected)


def test_adm_differs_from_bicubic_alone():
    image = noise(300, 300)
    plain = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC))
    assert np.abs(adm_center_crop(image, 64).astype(int) - plain).max() > 5


def test_adm_does_not_halve_just_below_twice_the_size():
    image = noise(127, 127)
    expected = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(adm_center_crop(image, 64), expected)


def test_adm_crop_offset_rounds_down():
    image = noise(97, 64)
    np.testing.assert_array_equal(adm_center_crop(image, 64), np.asarray(image)[:, 16:80])
    image = noise(64, 97)
    np.testing.assert_array_equal(adm_center_crop(image, 64), np.asarray(image)[16:80])


def test_small_image_is_enlarged_by_bicubic():
    image = noise(32, 32)
    expected = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(adm_center_crop(image, 64), expected)


def test_bilinear_crop_offset_rounds_half_to_even():
    """Offsets of 0.5, 1.5 and 2.5 pixels are 0, 2 and 2."""
    for surplus, offset in ((1, 0), (3, 2), (5, 2)):
        image = noise(64 + surplus, 64)
        expected = np.asarray(image)[:, offset : offset + 64]
        np.testing.assert_array_equal(bilinear_center_crop(image, 64), expected)
        image = noise(64, 64 + surplus)
        expected = np.asarray(image)[offset : offset + 64]
        np.testing.assert_array_equal(bilinear_center_crop(image, 64), expected)


@pytest.mark.parametrize("size", SIZES)
def test_bilinear_is_what_torchvision_does(size):
    image = noise(*size)
    reference = T.Compose([T.Resize(64), T.CenterCrop(64)])(image)
    np.testing.assert_array_equal(bilinear_center_crop(image, 64), np.asarray(reference))


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS.keys())
def test_a_line_of_pixels_is_refused_before_memory_runs_out(crop):
    with pytest.raises(DataError, match="pixels") as caught:
        crop(Image.new("RGB", (60_000, 1)), 256)
    assert "max_image_mb" not in str(caught.value)  # the limit of what is decoded, not of crops
