"""Structural similarity: of Wang et al. 2004, with a uniform window, and over scales.

Local means are separable sums of shifted maps in float64: no convolution in float64 is fast on
a CPU, and sums of maps are the same for any batch. The results equal scikit-image's to 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ssdd_bench.errors import ResolutionError
from ssdd_bench.metrics.base import PerImageMetric

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Pixels computed at a time. On a CPU the maps of a piece stay in the cache, twice as fast as
# whole images; on a GPU a piece is a few dozen images.
CPU_PIECE, GPU_PIECE = 2**14, 2**23


@dataclass(frozen=True)
class Window:
    """Separable window over which means and covariances are taken.

    Attributes:
        taps: weights from the centre outwards; the other half is their mirror image.
        unbiased: factor of covariances; 1 for the population's, n / (n - 1) for the sample's.
    """

    taps: tuple[float, ...]
    unbiased: float = 1.0

    @property
    def width(self) -> int:
        """Pixels along one side."""
        return 2 * len(self.taps) - 1

    def mean(self, x: Tensor) -> Tensor:
        """Average (..., H, W) over every window that lies inside the map."""
        return self._mean_along(self._mean_along(x, -2), -1)

    def _mean_along(self, x: Tensor, dim: int) -> Tensor:
        total = self.taps[0] + 2 * sum(self.taps[1:])
        centre, size = len(self.taps) - 1, x.shape[dim] - self.width + 1
        out = x.narrow(dim, centre, size) * (self.taps[0] / total)
        for away, tap in enumerate(self.taps[1:], 1):
            for start in (centre - away, centre + away):
                out.add_(x.narrow(dim, start, size), alpha=tap / total)
        return out


GAUSSIAN = Window(tuple(math.exp(-(away**2) / (2 * 1.5**2)) for away in range(6)))
UNIFORM = Window((1.0,) * 4, unbiased=49 / 48)


def _terms(a: Tensor, b: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Compute the maps of similarity and of contrast-structure of (..., H, W) in [0, 255].

    Every step that can be is done in place: on a CPU a third of the time is memory.
    """
    maps = torch.empty(4, *a.shape, dtype=torch.float64, device=a.device)
    maps[0].copy_(a)
    maps[1].copy_(b)
    torch.mul(maps[0], maps[1], out=maps[3])
    torch.mul(maps[0], maps[0], out=maps[2]).addcmul_(maps[1], maps[1])
    mean_a, mean_b, squares, products = window.mean(maps)
    square_means = mean_a.square().addcmul_(mean_b, mean_b)
    means = mean_a.mul_(mean_b)
    variances = squares.sub_(square_means).mul_(window.unbiased)
    covariance = products.sub_(means).mul_(window.unbiased)
    structure = covariance.mul_(2).add_(C2).div_(variances.add_(C2))
    luminance = means.mul_(2).add_(C1).div_(square_means.add_(C1))
    return luminance.mul_(structure), structure


def _pieces(a: Tensor, b: Tensor, window: Window) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield the planes of a piece, and strips of both images that overlap by a window."""
    (planes, height, width), overlap = a.shape, window.width - 1
    step = 1 if a.device.type == "cpu" else max(1, GPU_PIECE // (height * width))
    rows = max(window.width, (CPU_PIECE if a.device.type == "cpu" else GPU_PIECE) // width)
    for first in range(0, planes, step):
        some = slice(first, first + step)
        for top in range(0, height - overlap, rows):
            strip = slice(top, top + rows + overlap)
            yield some, a[some, strip], b[some, strip]


def _mean_terms(a: Tensor, b: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Average similarity and contrast-structure over each plane: (planes, H, W) to (planes,)."""
    sums = torch.zeros(2, len(a), dtype=torch.float64, device=a.device)
    for planes, x, y in _pieces(a, b, window):
        for total, term in zip(sums, _terms(x, y, window), strict=True):
            total[planes] += term.sum(dim=(1, 2))
    height, width = (side - window.width + 1 for side in a.shape[-2:])
    similarity, structure = sums / (height * width)
    return similarity, structure


def _similarity(references: Tensor, reconstructions: Tensor, window: Window) -> Tensor:
    similarity, _ = _mean_terms(references.flatten(0, 1), reconstructions.flatten(0, 1), window)
    return similarity.unflatten(0, references.shape[:2]).mean(dim=1)


def ssim(references: Tensor, reconstructions: Tensor) -> Tensor:
    """Compute the SSIM of images, uint8 (B, 3, H, W) in [0, 255]; returns (B,), float64 up to 1.

    Gaussian window of 11 taps, sigma 1.5; population covariance, K1 0.01, K2 0.03; mean over the
    channels and the windows that lie inside the image.
    """
    return _similarity(references, reconstructions, GAUSSIAN)


def uniform_ssim(references: Tensor, reconstructions: Tensor) -> Tensor:
    """Compute the SSIM of images, uint8 (B, 3, H, W), as scikit-image does by default: (B,).

    A uniform window of 7 x 7 and sample covariance, which is 0.01 to 0.03 above :func:`ssim`.
    """
    return _similarity(references, reconstructions, UNIFORM)


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(references: Tensor, reconstructions: Tensor) -> Tensor:
    """Compute the multi-scale SSIM of images, uint8 (B, 3, H, W): Wang et al. 2003; (B,).

    At five scales, each half the last (mean of 2 x 2), the mean contrast-structure term of every
    channel, and at the last the mean SSIM; negative ones count as 0. The weighted product per
    channel, then the mean over channels. Windows as in :func:`ssim`, borders left out at every
    scale; torchmetrics' own function was off by up to 2e-5 in our tests.
    """
    a, b = references.flatten(0, 1).double(), reconstructions.flatten(0, 1).double()
    product = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        similarity, structure = _mean_terms(a, b, GAUSSIAN)
        term = similarity if scale == len(SCALE_WEIGHTS) - 1 else structure
        product *= term.clamp(min=0) ** weight
    return product.unflatten(0, references.shape[:2]).mean(dim=1)


class SSIM(PerImageMetric):
    """Mean over images of :func:`ssim`."""

    on_device = True
    backend = "ssdd-bench, float64"
    similarity: Callable[[Tensor, Tensor], Tensor] = staticmethod(ssim)
    smallest = GAUSSIAN.width

    @torch.inference_mode()
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return similarities of at most 1."""
        if min(references.shape[-2:]) < self.smallest:
            raise ResolutionError(f"{self.info.key} needs images of at least {self.smallest} px")
        return self.similarity(references, reconstructions).tolist()


class UniformSSIM(SSIM):
    """Mean over images of :func:`uniform_ssim`; torchmetrics has no sample covariance."""

    similarity = staticmethod(uniform_ssim)
    smallest = UNIFORM.width


class MSSSIM(SSIM):
    """Mean over images of :func:`ms_ssim`."""

    similarity = staticmethod(ms_ssim)
    smallest = GAUSSIAN.width * 2 ** (len(SCALE_WEIGHTS) - 1)
