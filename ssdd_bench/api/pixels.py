"""The range of float images, and the rounding of decoded ones to the uint8 of every metric."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssdd_bench.errors import DataError, PluginError

SHOWN = 3  # ids named in a message


def check_range(images: Tensor) -> None:
    """Refuse floats outside [0, 1], such as those of a network in [-1, 1] or of 0 to 255.

    Raises:
        DataError: a value is smaller, larger or NaN.
    """
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"floats range from {low:.6g} to {high:.6g}, expected [0, 1]: scale them, or give "
            "images.clamp(0, 1) where resizing overshot"
        )


def to_uint8(images: Tensor, ids: Sequence[str]) -> Tensor:
    """Clamp to [0, 1] and round to 256 levels, refusing values that are not finite.

    Truncating instead would turn 63 of the 256 levels into their neighbours below.

    Raises:
        PluginError: a pixel is NaN or infinite; names the images.
    """
    finite = torch.isfinite(images).flatten(1).all(dim=1).tolist()
    bad = [image_id for image_id, good in zip(ids, finite, strict=True) if not good]
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise PluginError(
            f"decode returned NaN or infinite pixels for {', '.join(bad[:SHOWN])}{more}: "
            "check its weights and number format"
        )
    return round_to_uint8(images)


def round_to_uint8(images: Tensor) -> Tensor:
    """Clamp floats to [0, 1] and round them to 256 levels, without a check of their values."""
    return (images.float().clamp(0, 1) * 255).round().to(torch.uint8)
