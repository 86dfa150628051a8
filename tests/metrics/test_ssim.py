"""The uniform and the multi-scale SSIM against independent implementations."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from ssdd_bench.errors import ResolutionError
from ssdd_bench.metrics import ssim as module
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.ssim import SCALE_WEIGHTS, ms_ssim, ssim, uniform_ssim


def one(similarity, a, b):
    return similarity(a[None], b[None]).item()


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize("sigma", [2, 10, 40])
@pytest.mark.parametrize(
    ("ours", "other", "settings"), [(uniform_ssim, ssim, {}), (ssim, uniform_ssim, GAUSSIAN)]
)
def test_windows_are_those_of_scikit_image(ours, other, settings, sigma, photo_like, noisy):
    a = photo_like(2)
    for x, y in zip(a.numpy(), noisy(a, sigma).numpy(), strict=True):
        expected = structural_similarity(x, y, channel_axis=0, data_range=255, **settings)
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        assert one(ours, x, y) == pytest.approx(expected, abs=1e-12)
        assert abs(one(other, x, y) - expected) > 1e-4


def skimage_ms_ssim(a, b):
    """Compute it from scikit-image's maps of SSIM and a luminance term computed apart."""
    from scipy.ndimage import gaussian_filter

    def blur(x):
        return gaussian_filter(x, 1.5, radius=5)[5:-5, 5:-5]

    scores = []
    for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True):
        product = 1.0
        for scale, weight in enumerate(SCALE_WEIGHTS):
            if scale:
                x, y = (
                    v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean(axis=(1, 3))
                    for v in (x, y)
                )
            _, full = structural_similarity(x, y, data_range=255, full=True, **GAUSSIAN)
            full = full[5:-5, 5:-5]
            c1 = (0.01 * 255) ** 2
            mx, my = blur(x), blur(y)
            luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            term = full if scale == len(SCALE_WEIGHTS) - 1 else full / luminance
            product *= max(term.mean(), 0) ** weight
        scores.append(product)
    return float(np.mean(scores))


@pytest.mark.medium
@pytest.mark.parametrize("sigma", [5, 30])
def test_scales(sigma, photo_like, noisy):
    a = photo_like(1, side=192)
    b = noisy(a, sigma)
    expected = skimage_ms_ssim(a[0], b[0])
    assert one(ms_ssim, a[0], b[0]) == pytest.approx(expected, abs=1e-12)
    padded = multiscale_structural_similarity_index_measure(
        b.double() / 255, a.double() / 255, data_range=1.0
    )
    assert abs(padded.item() - expected) > 1e-7  # torchmetrics is off by up to 2e-5 here


def test_negative_terms_count_as_nothing(photo_like):
    """The contrast of a negative has the opposite sign at every scale."""
    images = photo_like(2, 192)
    assert ssim(images, 255 - images).max() < 0
    assert ms_ssim(images, 255 - images).tolist() == [0, 0]


def test_identity(photo_like):
    image = photo_like(1, side=176)[0]
    assert one(ms_ssim, image, image) == pytest.approx(1, abs=1e-12)
    assert one(uniform_ssim, image, image) == pytest.approx(1, abs=1e-12)


@pytest.mark.medium
@pytest.mark.parametrize("similarity", [ssim, uniform_ssim, ms_ssim])
def test_pieces_and_batches_change_nothing(similarity, photo_like, noisy, monkeypatch):
    a = photo_like(3, side=192)
    b = noisy(a, 10)
    whole = similarity(a, b)
    assert whole.shape == (3,)
    assert similarity(a[1:2], b[1:2]).item() == whole[1].item()
    monkeypatch.setattr(module, "CPU_PIECE", 192 * 23)  # strips of 23 rows
    torch.testing.assert_close(similarity(a, b), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("key", "least"), [("ms_ssim", 176), ("ssim_skimage7", 7), ("ssim", 11)])
def test_images_below_the_window(key, least):
    metric = find_metrics("pairs")[key].make(torch.device("cpu"))
    fine, small = (torch.zeros(1, 3, side, side, dtype=torch.uint8) for side in (least, least - 1))
    assert metric.score(fine, fine) == [1]
    with pytest.raises(ResolutionError, match=f"{key}.* {least} px"):
        metric.score(small, small)
