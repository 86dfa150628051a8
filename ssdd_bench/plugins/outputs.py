"""Checks of what a plugin gives: the description of its tokenizer, latents and images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.errors import PluginError, counted

ROLES: Final = ("encoder", "decoder")

RANGE = (-2.0, 3.0)
"""Decoded values outside are no overshoot of [0, 1], which is below 1 for the KL-VAE here."""

EXACT_TOLERANCE = 1e-3
"""Largest difference of one image alone from the same in a batch, whose kernels may differ."""

REDUCED_TOLERANCE = 0.1
"""The same with networks in a reduced number format."""


def describe_faults(tokenizer: Tokenizer) -> Iterator[str]:
    """Yield what is wrong with the description of a loaded tokenizer, a line each."""
    spec = getattr(tokenizer, "latent", None)
    if not isinstance(spec, LatentSpec):
        yield f"attribute latent must be a LatentSpec, not {type(spec).__name__}"
    elif problem := spec.problem():
        yield f"latent.{problem}"
    steps = tokenizer.steps
    if steps is not None and (type(steps) is not int or steps < 1):
        yield f"attribute steps must be None or an integer of at least 1, not {steps!r}"
    for path in tokenizer.weights:
        if not Path(path).is_file():
            yield f"attribute weights names {path}, which is no file"
    for role, network in tokenizer.networks().items():
        if role not in ROLES or not isinstance(network, nn.Module):
            kind = type(network).__name__
            yield f"networks() must map 'encoder' and 'decoder' to modules, not {role!r} to {kind}"
    info: object = tokenizer.info()
    try:
        json.dumps(info, allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"info() does not fit into JSON: {error}"
    else:
        if not isinstance(info, dict):
            yield f"info() must return a dictionary, not {type(info).__name__}"


def check_described(name: str, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer whose description would spoil a record.

    Raises:
        PluginError: names the first fault.
    """
    if fault := next(describe_faults(tokenizer), ""):
        raise PluginError(f"{name}: {fault}. Fix the tokenizer")


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
        is_list = isinstance(data, Sequence)
        if not is_list or not all(isinstance(item, bytes) for item in data):
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


def decoded_fault(decoded: object, shape: Sequence[int]) -> str:
    """Describe what is wrong with what decode returned, without a look at its values; else "".

    Args:
        decoded: what was returned.
        shape: expected, (B, 3, H, W).
    """
    if not isinstance(decoded, Tensor):
        return f"must return a tensor of floats, not {type(decoded).__name__}"
    if not decoded.is_floating_point():
        return f"must return a tensor of floats, not of {decoded.dtype}"
    if decoded.shape != tuple(shape):
        return f"returned shape {tuple(decoded.shape)}, expected {tuple(shape)}"
    return ""


def check_latent(spec: LatentSpec, latent: Latent, images: Tensor) -> None:
    """Refuse what encode may not return.

    Raises:
        PluginError: names the first fault.
    """
    if fault := next(latent_faults(spec, latent, images), ""):
        raise PluginError(f"encode: {fault}. Fix encode or latent")


def check_decoded(decoded: Tensor, shape: Sequence[int]) -> None:
    """Refuse what decode may not return for images of a shape (B, 3, H, W).

    Raises:
        PluginError: names the first fault.
    """
    if fault := decoded_fault(decoded, shape):
        raise PluginError(f"decode {fault}. Fix decode")


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
