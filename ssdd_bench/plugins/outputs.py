"""The border of a tokenizer's calls: what encode and decode may return, checked in one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec
from ssdd_bench.errors import PluginError, counted

RANGE = (-2.0, 3.0)
"""Decoded values outside are no overshoot of [0, 1], which is below 1 for the KL-VAE here."""

EXACT_TOLERANCE = 1e-3
"""Largest difference of one image alone from the same in a batch, whose kernels may differ."""

REDUCED_TOLERANCE = 0.1
"""The same with networks in a reduced number format."""


def latent_faults(spec: LatentSpec, latent: object, images: Tensor) -> Iterator[str]:
    """Yield what is wrong with what encode returned, without a look at its values.

    Args:
        spec: the tokenizer's description of its latents.
        latent: what was returned.
        images: (B, 3, H, W) that were encoded.
    """
    if not isinstance(latent, Latent):
        yield f"must return a Latent, not {type(latent).__name__}"
        return
    height, width = images.shape[-2:]
    if tuple(latent.size) != (height, width):
        yield f"size is {latent.size}, the images' is {(height, width)}"
    data = latent.data
    if spec.kind == "bytes":
        if isinstance(data, Tensor) or not all(isinstance(item, bytes) for item in data):
            yield "data of kind 'bytes' must be a list of bytes"
        elif len(data) != len(images):
            yield f"{counted(len(data), 'byte stream')} for {counted(len(images), 'image')}"
    elif not isinstance(data, Tensor):
        yield f"data must be a tensor, not {type(data).__name__}"
    else:
        expected = (len(images), *(spec.shape(height, width) or ()))
        if tuple(data.shape) != expected:
            yield f"data has shape {tuple(data.shape)}, latent describes {expected}"
        is_integer = not (data.is_floating_point() or data.is_complex())
        if is_integer != (spec.kind == "discrete") or data.is_complex():
            yield f"data of kind '{spec.kind}' has dtype {data.dtype}"


def decoded_faults(decoded: object, shape: Sequence[int]) -> Iterator[str]:
    """Yield what is wrong with what decode returned, without a look at its values.

    Args:
        decoded: what was returned.
        shape: expected, (B, 3, H, W).
    """
    if not isinstance(decoded, Tensor):
        yield f"must return a tensor of floats, not {type(decoded).__name__}"
    elif not decoded.is_floating_point():
        yield f"must return a tensor of floats, not of {decoded.dtype}"
    elif tuple(decoded.shape) != tuple(shape):
        yield f"returned shape {tuple(decoded.shape)}, expected {tuple(shape)}"


def check_latent(spec: LatentSpec, latent: Latent, images: Tensor) -> None:
    """Refuse what encode may not return.

    Raises:
        PluginError: names the first fault.
    """
    if fault := next(latent_faults(spec, latent, images), ""):
        raise PluginError(f"encode: {fault}. Fix encode or latent in the plugin")


def check_decoded(decoded: Tensor, shape: Sequence[int]) -> None:
    """Refuse what decode may not return for images of a shape (B, 3, H, W).

    Raises:
        PluginError: names the first fault.
    """
    if fault := next(decoded_faults(decoded, shape), ""):
        raise PluginError(f"decode {fault}. Fix decode in the plugin")


def range_fault(low: float, high: float) -> str:
    """Describe decoded images whose least and largest value do not belong to [0, 1]; else "".

    Values of [0, 1] overshoot both ends alike, so the middle of the two is near 0.5; that of images
    in [-1, 1] is near 0.
    """
    is_signed = low < -0.75 and low + high < 0.5
    if RANGE[0] <= low and high <= RANGE[1] and not is_signed:
        return ""
    return f"decode's images range from {low:.2f} to {high:.2f}; they should be in [0, 1]"


def finite_fault(*decoded: Tensor) -> str:
    """Describe decoded images of which one has a value that is not finite; else ""."""
    if all(bool(torch.isfinite(images).all()) for images in decoded):
        return ""
    return "decode's images hold NaN or infinity"


def repeat_fault(first: Tensor, again: Tensor, tolerance: float = 0.0) -> str:
    """Describe the difference of an image decoded twice from the same noise; "" if there is none.

    Values that are not finite differ by no number, so they are named instead.

    Args:
        first: floats (1, 3, H, W).
        again: floats of the same shape.
        tolerance: largest difference that passes; 0 for the same bits.
    """
    if torch.equal(first, again):
        return ""
    if fault := finite_fault(first, again):
        return f"{fault} when the same image is decoded twice"
    worst = (first.double() - again.double()).abs().max().item()
    if worst <= tolerance:
        return ""
    return (
        f"the same image and noise gave two results, which differ by up to {worst:.3g}: the "
        "tokenizer must take random numbers from noise only"
    )
