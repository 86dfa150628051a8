"""The uniform and the multi-scale SSIM against independent implementations."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from ssdd_bench.errors import ResolutionError
from ssdd_bench.metrics.ssim import SCALE_WEIGHTS, ms_ssim, ssim, uniform_ssim


def pictures(a, b):
    return [x.permute(1, 2, 0).numpy() for x in (a, b)]


@pytest.mark.parametrize("sigma", [2, 10, 40])
def test_uniform_is_scikit_images_default(sigma, photo_like, noisy):
    a = photo_like(2)
    for x, y in zip(a, noisy(a, sigma), strict=True):
        expected = structural_similarity(*pictures(x, y), channel_axis=2, data_range=255)
        assert uniform_ssim(x, y) == pytest.approx(expected, abs=1e-8)
        assert abs(ssim(x, y) - expected) > 1e-4  # the Gaussian one is another score


def skimage_ms_ssim(a, b):
    """From scikit-image's own maps of SSIM and a luminance term computed apart."""
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
            _, full = structural_similarity(
                x,
                y,
                data_range=255,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                full=True,
            )
            full = full[5:-5, 5:-5]
            c1 = (0.01 * 255) ** 2
            mx, my = blur(x), blur(y)
            luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            term = full if scale == len(SCALE_WEIGHTS) - 1 else full / luminance
            product *= max(term.mean(), 0) ** weight
        scores.append(product)
    return float(np.mean(scores))


@pytest.mark.parametrize("sigma", [5, 30])
def test_scales(sigma, photo_like, noisy):
    a = photo_like(1, side=192)
    b = noisy(a, sigma)
    expected = skimage_ms_ssim(a[0], b[0])
    assert ms_ssim(a[0], b[0]) == pytest.approx(expected, abs=1e-8)
    padded = multiscale_structural_similarity_index_measure(
        b.double() / 255, a.double() / 255, data_range=1.0
    )
    assert abs(padded.item() - expected) > 1e-7  # torchmetrics is off by up to 2e-5 here


def test_identity(photo_like):
    image = photo_like(1, side=176)[0]
    assert ms_ssim(image, image) == pytest.approx(1, abs=1e-12)
    assert uniform_ssim(image, image) == pytest.approx(1, abs=1e-12)


def test_images_below_the_window():
    with pytest.raises(ResolutionError, match="at least 161 px"):
        ms_ssim(torch.zeros(3, 160, 160), torch.zeros(3, 160, 160))
    with pytest.raises(ResolutionError, match="at least 7 px"):
        uniform_ssim(torch.zeros(3, 6, 6), torch.zeros(3, 6, 6))
