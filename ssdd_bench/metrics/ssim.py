"""Structural similarity: of Wang et al. 2004, with a uniform window, and over scales.

torchmetrics computes the map of local similarities in float64, but its own mean takes in borders
made of reflected pixels, which is off by up to 0.01 from every other implementation. We crop the
map instead; the result equals scikit-image's to 1e-8.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from ssdd_bench.errors import ResolutionError
from ssdd_bench.metrics.base import PerImageMetric

WINDOW = 11
BORDER = WINDOW // 2


def _check_sides(metric: str, image: Tensor, least: int) -> None:
    if min(image.shape[-2:]) < least:
        raise ResolutionError(f"{metric} needs images of at least {least} px")


def ssim(reference: Tensor, reconstruction: Tensor) -> float:
    """Compute the SSIM of two images, uint8 (3, H, W), in [-1, 1].

    Gaussian window of 11 taps, sigma 1.5; population covariance, K1 0.01, K2 0.03; mean over the
    channels and the valid region.
    """
    _check_sides("ssim", reference, WINDOW)
    _, similarity = structural_similarity_index_measure(
        reconstruction[None].double() / 255,
        reference[None].double() / 255,
        gaussian_kernel=True,
        sigma=1.5,
        data_range=1.0,
        return_full_image=True,
        reduction="none",
    )
    assert isinstance(similarity, Tensor)
    return similarity[..., BORDER:-BORDER, BORDER:-BORDER].mean().item()


class _Similarity(PerImageMetric):
    """Score images one by one, so that memory stays that of one image."""

    similarity: Callable[[Tensor, Tensor], float]

    @torch.inference_mode()
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return similarities of at most 1."""
        return [self.similarity(a, b) for a, b in zip(references, reconstructions, strict=True)]


class SSIM(_Similarity):
    """Mean over images of :func:`ssim`."""

    backend = f"torchmetrics {torchmetrics.__version__}, borders cropped"

    similarity = staticmethod(ssim)


UNIFORM = 7


def uniform_ssim(reference: Tensor, reconstruction: Tensor) -> float:
    """Compute the SSIM of two images, uint8 (3, H, W), as scikit-image does by default.

    A uniform window of 7 x 7 and sample covariance, which is 0.01 to 0.03 above :func:`ssim`.
    Sums over windows are exact integers here; scikit-image's differ by 1e-12.
    """
    _check_sides("ssim_skimage7", reference, UNIFORM)
    a, b = reference.int(), reconstruction.int()
    sums = _window_sums(torch.stack((a, b, a * a, b * b, a * b)))
    mean_a, mean_b, aa, bb, ab = sums.double() / UNIFORM**2
    sample = UNIFORM**2 / (UNIFORM**2 - 1)
    variance_a = sample * (aa - mean_a**2)
    variance_b = sample * (bb - mean_b**2)
    covariance = sample * (ab - mean_a * mean_b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return similarity.mean().item()


def _window_sums(x: Tensor) -> Tensor:
    """Sum integers (..., H, W) over windows of 7 x 7, ten times as fast as by pooling."""
    height, width = (side - UNIFORM + 1 for side in x.shape[-2:])
    rows = sum((x[..., k : k + height, :] for k in range(1, UNIFORM)), x[..., :height, :])
    return sum((rows[..., k : k + width] for k in range(1, UNIFORM)), rows[..., :width])


class UniformSSIM(_Similarity):
    """Mean over images of :func:`uniform_ssim`; torchmetrics has no sample covariance."""

    backend = f"ssdd-bench, as skimage.metrics, torch {torch.__version__.split('+')[0]}"

    similarity = staticmethod(uniform_ssim)


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1


def ms_ssim(reference: Tensor, reconstruction: Tensor) -> float:
    """Compute the multi-scale SSIM of two images, uint8 (3, H, W): Wang et al. 2003.

    At five scales, each half the last (mean of 2 x 2), the mean contrast-structure term of every
    channel, and at the last the mean SSIM; negative ones count as 0. The weighted product per
    channel, then the mean over channels. Windows as in :func:`ssim`, borders left out at every
    scale; torchmetrics' own function was off by up to 2e-5 in our tests.
    """
    _check_sides("ms_ssim", reference, SMALLEST)
    a, b = reference.double()[:, None], reconstruction.double()[:, None]
    product = torch.ones(len(a), dtype=torch.float64)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        luminance, structure = _gaussian_terms(a, b)
        last = scale == len(SCALE_WEIGHTS) - 1
        term = luminance * structure if last else structure
        product *= term.mean(dim=(1, 2, 3)).clamp(min=0) ** weight
    return product.mean().item()


def _gaussian_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return luminance and contrast-structure of (C, 1, H, W), float64 in [0, 255]."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - BORDER
    taps = torch.exp(-(offsets**2) / (2 * 1.5**2))
    taps /= taps.sum()

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))

    mean_a, mean_b = blur(a), blur(b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


class MSSSIM(_Similarity):
    """Mean over images of :func:`ms_ssim`."""

    backend = f"ssdd-bench, torch {torch.__version__.split('+')[0]}"

    similarity = staticmethod(ms_ssim)
