"""The table of metrics of generated images. Imports no torch, so listing is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

INTRA: Final = "fd_effnet_intra"
IMAGES: Final = "reference images"


@dataclass(frozen=True)
class GenerationMetricInfo:
    """A metric of generated images.

    Attributes:
        key: name in results and on the command line.
        title: one line for the list.
        higher_is_better: direction.
        network: key in ``ssdd_bench.metrics.features.base.EXTRACTORS``.
        tap: which of its outputs.
        reference: what the samples are compared with; "" for an absolute score.
        assets: names in ``ssdd_bench.assets`` of the external files that it needs.
        default: whether it is measured unless told otherwise, where what it needs is there.
    """

    key: str
    title: str
    higher_is_better: bool
    network: str
    tap: str
    reference: str
    assets: tuple[str, ...] = ()
    default: bool = True


GENERATION_METRICS: Final[Mapping[str, GenerationMetricInfo]] = {
    info.key: info
    for info in (
        GenerationMetricInfo(
            "gfid",
            "generation FID: Fréchet distance of Inception's pooled features",
            False,
            "inception",
            "pool",
            f"{IMAGES} or mu, sigma",
            ("inception",),
        ),
        GenerationMetricInfo(
            "sfid",
            "Fréchet distance of Inception's spatial features",
            False,
            "inception",
            "spatial",
            f"{IMAGES} or mu_s, sigma_s",
            ("inception",),
        ),
        GenerationMetricInfo(
            "isc",
            "Inception Score",
            True,
            "inception",
            "logits",
            "",
            ("inception",),
        ),
        GenerationMetricInfo(
            "precision",
            "fraction of samples among the reference images' neighbours",
            True,
            "inception",
            "pool",
            IMAGES,
            ("inception",),
        ),
        GenerationMetricInfo(
            "recall",
            "fraction of reference images among the samples' neighbours",
            True,
            "inception",
            "pool",
            IMAGES,
            ("inception",),
        ),
        GenerationMetricInfo(
            "fd_dinov2",
            "Fréchet distance of DINOv2 ViT-L/14 features",
            False,
            "dinov2_vitl14",
            "cls",
            IMAGES,
            ("dinov2_vitl14",),
            default=False,
        ),
        GenerationMetricInfo(
            "fd_effnet",
            "Fréchet distance of EfficientNet-Lite0 features, not FID",
            False,
            "effnet",
            "pool",
            IMAGES,
        ),
        GenerationMetricInfo(
            INTRA,
            "mean over classes of that distance within a class",
            False,
            "effnet",
            "pool",
            f"{IMAGES} with labels",
        ),
    )
}
"""Every metric of generated images by its key."""
