"""What a metric is, and the table of those there are. Imports no torch, so listing is quick."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ssdd_bench.errors import DataError, UnavailableError, UserError
from ssdd_bench.results.schema import MetricValue

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ssdd_bench.metrics.features.base import FeaturePairs


@dataclass(frozen=True)
class MetricOptions:
    """What a protocol may say about how a metric is computed; the defaults are ours.

    Attributes:
        lpips_padding: images are padded with zeros to a power of two before LPIPS.
        dreamsim_resize: images are resized to 224 px before DreamSim.
    """

    lpips_padding: bool = False
    dreamsim_resize: bool = True


class PairMetric(ABC):
    """Compares each image with its reconstruction.

    Attributes:
        key: name in results, which carries the variant.
        higher_is_better: direction.
        backend: library and version, and the weights' hash where there are any.
    """

    key: str
    higher_is_better: bool
    backend: str

    def __init__(
        self, device: torch.device | None = None, options: MetricOptions | None = None
    ) -> None:
        """Load what it needs; ``UnavailableError`` where that is not on this machine.

        Args:
            device: of the networks, if any.
            options: what the protocol says.
        """
        self.device = device
        self.options = options or MetricOptions()

    @abstractmethod
    def update(self, ids: Sequence[str], reference: Tensor, reconstruction: Tensor) -> None:
        """Take in pairs: uint8 (B, 3, H, W) on the CPU, with an id each that comes only once."""

    @abstractmethod
    def compute(self) -> MetricValue:
        """The score over all pairs so far."""

    def per_image(self) -> dict[str, float]:
        """Score of each image by id, for paired comparisons; empty for distances of sets."""
        return {}


class PerImageMetric(PairMetric):
    """A metric with a score per image, which the mean is taken over.

    Sums are exact (``math.fsum``), so the order and the batches of the images change nothing.
    """

    def __init__(
        self, device: torch.device | None = None, options: MetricOptions | None = None
    ) -> None:
        super().__init__(device, options)
        self._scores: dict[str, float] = {}

    @abstractmethod
    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """Score of each pair of a batch, uint8 (B, 3, H, W)."""

    def update(self, ids: Sequence[str], reference: Tensor, reconstruction: Tensor) -> None:
        """Score a batch; ``DataError`` where an image comes twice."""
        for name, score in zip(ids, self.score(reference, reconstruction), strict=True):
            if name in self._scores:
                raise DataError(f"{self.key}: image '{name}' came twice")
            self._scores[name] = score

    def compute(self) -> MetricValue:
        """Mean of the finite scores; the infinite ones are counted apart."""
        finite = [score for score in self._in_order() if math.isfinite(score)]
        interval, method = self._interval(finite)
        return MetricValue(
            value=math.fsum(finite) / len(finite) if finite else None,
            n=len(self._scores),
            higher_is_better=self.higher_is_better,
            backend=self.backend,
            infinite=len(self._scores) - len(finite),
            interval=interval,
            interval_method=method,
        )

    def _in_order(self) -> list[float]:
        """Scores sorted by id, so that the order of the images changes no draw."""
        return [self._scores[name] for name in sorted(self._scores)]

    def _interval(
        self, scores: list[float], of_mean: Callable[[float], float] = float
    ) -> tuple[tuple[float, float] | None, str]:
        """Interval of the mean and its method; none for fewer than two scores."""
        import numpy as np

        from ssdd_bench.metrics.intervals import BOOTSTRAP, bootstrap_interval

        if len(scores) < 2:
            return None, ""
        return bootstrap_interval(np.array(scores), of_mean), BOOTSTRAP

    def per_image(self) -> dict[str, float]:
        """Score by id."""
        return dict(self._scores)


class SetMetric(ABC):
    """Compares the set of images with the set of reconstructions, by a network's features.

    The features of an image are computed once and shared by every metric that names them.

    Attributes:
        key: name in results, which carries the variant.
        higher_is_better: direction.
        extractor: key in ``ssdd_bench.metrics.features.base.EXTRACTORS``.
        tap: which of the extractor's outputs.
    """

    key: str
    higher_is_better: bool
    extractor: str
    tap: str

    def __init__(self, options: MetricOptions | None = None) -> None:
        self.options = options or MetricOptions()

    @abstractmethod
    def compute(self, features: FeaturePairs, intervals: bool = False) -> MetricValue:
        """The score, from one row of features per image on both sides.

        Args:
            features: of the images and of their reconstructions.
            intervals: also tell how uncertain it is, where that can be had.
        """


@dataclass(frozen=True)
class MetricInfo:
    """A metric before it is made.

    Attributes:
        key: name in results and on the command line.
        title: one line for the list.
        higher_is_better: direction.
        location: ``module:class`` in ``package``, imported when the metric is made.
        default: whether a run measures it unless told otherwise.
        assets: names in ``ssdd_bench.assets`` of the external files that it needs.
        extra: the optional dependencies that it needs, as in ``pip install 'ssdd-bench[EXTRA]'``.
        package: dotted name of the package it lies in.
        source: ``built-in`` or ``package NAME``.
    """

    key: str
    title: str
    higher_is_better: bool
    location: str
    default: bool = True
    assets: tuple[str, ...] = ()
    extra: str = ""
    package: str = "ssdd_bench.metrics"
    source: str = "built-in"

    def load(self) -> type[PairMetric] | type[SetMetric]:
        """Import the class behind it.

        Raises:
            UnavailableError: a third party's is no metric or cannot be imported; keeps the cause.
        """
        module, name = self.location.split(":")
        with self.guarded():
            found = getattr(import_module(f"{self.package}.{module}"), name)
            if not (isinstance(found, type) and issubclass(found, (PairMetric, SetMetric))):
                raise TypeError(f"{self.location} is neither a PairMetric nor a SetMetric")
            for attribute in ("key", "higher_is_better"):
                if getattr(found, attribute, None) != getattr(self, attribute):
                    raise TypeError(f"{self.location} says another {attribute} than its package")
        return found

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the code of a third party raises into an ``UnavailableError``."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if self.source == "built-in":
                raise
            reason = next(iter(str(error).splitlines()), "")
            raise UnavailableError(
                f"{self.key} ({self.source}) cannot be loaded: {type(error).__name__}: {reason}; "
                "mend or remove the package (--strict --debug shows where)"
            ) from error


METRICS: Mapping[str, MetricInfo] = {
    info.key: info
    for info in (
        MetricInfo("psnr", "PSNR in dB, mean over images", True, "psnr:PSNR"),
        MetricInfo("psnr_pooled", "PSNR in dB of the whole set's error", True, "psnr:PooledPSNR"),
        MetricInfo("mse", "mean squared error on [0, 1]", False, "psnr:MSE", default=False),
        MetricInfo("mae", "mean absolute error on [0, 1]", False, "psnr:MAE", default=False),
        MetricInfo("ssim", "SSIM, Gaussian window, borders left out", True, "ssim:SSIM"),
        MetricInfo(
            "fd_effnet",
            "Fréchet distance of EfficientNet-Lite0 features, not FID",
            False,
            "distances:FDEffNet",
        ),
        MetricInfo(
            "ssim_skimage7",
            "SSIM with scikit-image's defaults, a uniform 7 x 7 window",
            True,
            "ssim:UniformSSIM",
            default=False,
        ),
        MetricInfo("ms_ssim", "SSIM over five scales", True, "ssim:MSSSIM", default=False),
        MetricInfo(
            "lpips_alex",
            "LPIPS v0.1 on AlexNet",
            False,
            "lpips:LPIPSAlex",
            assets=("alexnet",),
        ),
        MetricInfo(
            "lpips_vgg",
            "LPIPS v0.1 on VGG-16",
            False,
            "lpips:LPIPSVGG",
            default=False,
            assets=("vgg16",),
        ),
        MetricInfo(
            "dreamsim",
            "DreamSim, the ensemble",
            False,
            "dreamsim:DreamSim",
            assets=("dreamsim_ensemble", "dino_vitb16"),
            extra="dreamsim",
        ),
        MetricInfo(
            "dreamsim_dino_vitb16",
            "DreamSim, the DINO branch alone",
            False,
            "dreamsim:DreamSimDINO",
            default=False,
            assets=("dreamsim_dino_vitb16", "dino_vitb16"),
            extra="dreamsim",
        ),
        MetricInfo(
            "rfid",
            "reconstruction FID: Fréchet distance of Inception features from the very crops",
            False,
            "distances:RFID",
            assets=("inception",),
        ),
        MetricInfo(
            "sfid",
            "Fréchet distance of Inception's spatial features",
            False,
            "distances:SFID",
            default=False,
            assets=("inception",),
        ),
        MetricInfo(
            "fd_dinov2",
            "Fréchet distance of DINOv2 ViT-L/14 features",
            False,
            "distances:FDDINOv2",
            default=False,
            assets=("dinov2_vitl14",),
            extra="dinov2",
        ),
        MetricInfo(
            "kid",
            "kernel distance of Inception features, of disjoint halves",
            False,
            "inception_metrics:KID",
            default=False,
            assets=("inception",),
        ),
        MetricInfo(
            "isc",
            "Inception Score of the reconstructions, which looks at no reference",
            True,
            "inception_metrics:InceptionScore",
            default=False,
            assets=("inception",),
        ),
        MetricInfo(
            "precision",
            "fraction of reconstructions among the originals' neighbours",
            True,
            "inception_metrics:Precision",
            default=False,
            assets=("inception",),
        ),
        MetricInfo(
            "recall",
            "fraction of originals among the reconstructions' neighbours",
            True,
            "inception_metrics:Recall",
            default=False,
            assets=("inception",),
        ),
    )
}


def needed_by(asset: str) -> tuple[str, ...]:
    """Keys of the metrics that need an external file."""
    return tuple(key for key, info in METRICS.items() if asset in info.assets)


DEFAULT_METRICS = tuple(info.key for info in METRICS.values() if info.default)
