"""Faults of what encode and decode return: each has its words, and limits are exact."""

import math
from dataclasses import replace

import pytest
import torch

from ssdd_bench.api import Latent, LatentSpec
from ssdd_bench.errors import PluginError
from ssdd_bench.plugins.outputs import (
    RANGE,
    check_decoded,
    check_latent,
    decoded_fault,
    finite_fault,
    latent_faults,
    range_fault,
    repeat_fault,
)

IMAGES = torch.zeros(2, 3, 8, 8)
FLOATS = LatentSpec("continuous", 4, 5)
CODES = LatentSpec("discrete", 4, 1, 3.0)
STREAMS = LatentSpec("bytes", 1, 0)
GOOD = [
    (FLOATS, Latent(torch.zeros(2, 5, 2, 2), (8, 8))),
    (FLOATS, Latent(torch.zeros(2, 5, 2, 2, dtype=torch.bfloat16), (8, 8))),
    (CODES, Latent(torch.zeros(2, 1, 2, 2, dtype=torch.int16), (8, 8))),
    (STREAMS, Latent([b"a", b""], (8, 8))),
]


@pytest.mark.parametrize(("spec", "latent"), GOOD)
def test_good_latents(spec, latent):
    assert list(latent_faults(spec, latent, IMAGES)) == []
    check_latent(spec, latent, IMAGES)


@pytest.mark.parametrize(
    ("number", "changes", "words"),
    [
        (0, {"size": (8, 4)}, "size is"),
        (0, {"data": [b"a", b"b"]}, "must be a tensor"),
        (0, {"data": torch.zeros(1, 5, 2, 2)}, "(1, 5, 2, 2)"),
        (0, {"data": torch.zeros(2, 5, 2, 4)}, "(2, 5, 2, 4)"),
        (0, {"data": torch.zeros(2, 5, 2, 2, dtype=torch.int64)}, "torch.int64"),
        (0, {"data": torch.zeros(2, 5, 2, 2, dtype=torch.complex64)}, "torch.complex64"),
        (2, {"data": torch.zeros(2, 1, 2, 2)}, "torch.float32"),
        (2, {"data": torch.zeros(2, 1, 2, 2, dtype=torch.complex64)}, "torch.complex64"),
        (3, {"data": torch.zeros(2, 3)}, "list of bytes"),
        (3, {"data": [b"a", "b"]}, "list of bytes"),
        (3, {"data": None}, "list of bytes"),
        (3, {"data": [b"a"]}, "1 byte stream for 2"),
    ],
)
def test_wrong_latents(number, changes, words):
    spec, good = GOOD[number]
    (fault,) = latent_faults(spec, replace(good, **changes), IMAGES)
    assert words in fault
    with pytest.raises(PluginError, match="encode"):
        check_latent(spec, replace(good, **changes), IMAGES)


def test_a_latent_is_a_latent():
    (fault,) = latent_faults(FLOATS, torch.zeros(2, 5, 2, 2), IMAGES)
    assert "Tensor" in fault


@pytest.mark.parametrize(
    ("decoded", "words"),
    [
        (None, "NoneType"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "torch.uint8"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.bool), "torch.bool"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.complex64), "torch.complex64"),
        (torch.zeros(2, 1, 8, 8), "(2, 1, 8, 8)"),
    ],
)
def test_wrong_images(decoded, words):
    assert words in decoded_fault(decoded, IMAGES.shape)
    with pytest.raises(PluginError, match="decode"):
        check_decoded(decoded, IMAGES.shape)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_of_any_floats(dtype):
    check_decoded(IMAGES.to(dtype), IMAGES.shape)


@pytest.mark.parametrize(
    ("low", "high", "is_fault"),
    [
        (0.0, 1.0, False),
        (-0.52, 1.81, False),  # the KL-VAE here
        (-0.9, 1.9, False),
        (*RANGE, False),
        (math.nextafter(RANGE[0], -3), RANGE[1], True),
        (RANGE[0], math.nextafter(RANGE[1], 4), True),
        (-1.0, 1.0, True),
        (-1.3, 1.2, True),
        (-0.76, 1.27, False),
        (-0.76, 1.25, True),
        (-0.75, 0.9, False),
        (0.0, 255.0, True),
    ],
)
def test_images_of_another_range_are_told_from_overshoot(low, high, is_fault):
    fault = range_fault(low, high)
    assert bool(fault) == is_fault
    assert not fault or f"{low:.2f} to {high:.2f}" in fault


def test_difference_of_two_results():
    one = torch.zeros(1, 3, 2, 2)
    other = one.clone()
    other[0, 1, 0, 1] = 0.25
    assert repeat_fault(one, one.clone()) == ""
    assert "0.25" in repeat_fault(one, other)
    assert repeat_fault(one, other, 0.25) == ""
    assert repeat_fault(one, other, 0.24) != ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_no_difference(value):
    one = torch.zeros(1, 3, 2, 2)
    other = one.clone()
    other[0, 2, 1, 0] = value
    assert finite_fault(one, one) == ""
    assert finite_fault(one, other) == finite_fault(other) != ""
    for pair in ((one, other), (other, one)):
        fault = repeat_fault(*pair, tolerance=0.5)
        assert finite_fault(other) in fault
        assert "differ" not in fault
