"""Sizes of latents and the use of codes, against counts by hand."""

import math

import numpy as np
import pytest
import torch

from ssdd_bench.api import Latent, LatentSpec
from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation.latent_size import LatentCounter, LatentTotals, codebook_size

CODES = LatentSpec("discrete", 4, 1, bits_per_value=2)
FLOATS = LatentSpec("continuous", 4, 3)
BYTES = LatentSpec("bytes", 1, 0)


@pytest.mark.parametrize(
    ("kind", "bits", "size"),
    [
        ("discrete", 2, 4),
        ("discrete", math.log2(1000), 1000),
        ("discrete", 24, 2**24),
        ("discrete", 24.5, 0),
        ("discrete", 0, 1),
        ("continuous", None, 0),
        ("bytes", None, 0),
    ],
)
def test_codebooks_up_to_24_bits_are_counted(kind, bits, size):
    assert codebook_size(LatentSpec(kind, 1, 1, bits)) == size


def counts(one):
    return one.pixels, one.values, one.bytes, one.codes.tolist()


def test_each_take_begins_anew():
    counter = LatentCounter(CODES)
    counter.add(Latent(torch.tensor([[[[0, 3]]], [[[3, 1]]]]), (4, 8)))
    counter.add(Latent(torch.tensor([[[[3, 3]]]]), (4, 8)))
    assert counts(counter.take()()) == (96, 6, 0, [[0, 1], [1, 1], [3, 4]])
    counter.add(Latent(torch.tensor([[[[2, 2]]]]), (4, 8)))
    assert counts(counter.take()()) == (32, 2, 0, [[2, 2]])
    assert counts(counter.take()()) == (0, 0, 0, [])


def test_bytes_are_counted_and_not_values():
    counter = LatentCounter(BYTES)
    counter.add(Latent([b"abc", b"", b"defg"], (2, 5)))
    counter.add(Latent([b"hi"], (2, 5)))
    assert counts(counter.take()()) == (40, 0, 9, [])


@pytest.mark.parametrize(("code", "named"), [(4, "code 4"), (-1, "code -1"), (9, "code 9")])
def test_a_code_outside_the_codebook(code, named):
    data = torch.tensor([[[[3, 0, code]]]])
    with pytest.raises(PluginError, match=f"{named}, .* 4 codes"):
        LatentCounter(CODES).add(Latent(data, (4, 12)))


def totals(spec, *latents):
    counter, found = LatentCounter(spec), LatentTotals(spec)
    for one in latents:
        counter.add(one)
        found.add(counter.take()())
    return found


def test_totals_of_codes():
    found = totals(
        CODES,
        Latent(torch.tensor([[[[0, 3]]], [[[3, 1]]]]), (4, 8)),
        Latent(torch.tensor([[[[3, 3]], [[1, 1]]]]).transpose(0, 1), (4, 8)),
    )
    assert (found.pixels, found.values, found.bytes) == (128, 8, 0)
    assert found.codes.tolist() == [1, 3, 0, 4]
    assert found.codes.dtype == np.int64
    assert found.bits_per_pixel == 2 * 8 / 128
    assert found.floats_per_pixel is None
    entropy = (1 * 3 + 3 * math.log2(8 / 3) + 4 * 1) / 8
    assert found.code_use == {
        "code_usage": 0.75,
        "code_entropy_bits": pytest.approx(entropy, rel=1e-14),
    }


def test_a_codebook_whose_size_is_no_power_of_two():
    spec = LatentSpec("discrete", 4, 1, bits_per_value=math.log2(1000))
    found = totals(spec, Latent(torch.tensor([[[[0, 999]]]]), (4, 8)))
    assert found.code_use == {"code_usage": 2 / 1000, "code_entropy_bits": 1.0}


def test_one_code_has_no_entropy():
    found = totals(CODES, Latent(torch.zeros(1, 1, 1, 1, dtype=torch.long), (4, 4)))
    assert found.code_use == {"code_usage": 0.25, "code_entropy_bits": 0.0}


def test_totals_of_floats_and_bytes():
    floats = totals(FLOATS, *[Latent(torch.zeros(2, 3, 1, 2), (4, 8))] * 3)
    assert (floats.pixels, floats.values) == (192, 36)
    assert floats.floats_per_pixel == 36 / 192
    assert (floats.bits_per_pixel, floats.code_use) == (None, {})
    streams = totals(BYTES, *[Latent([b"abc", b"de"], (2, 5))] * 2)
    assert (streams.pixels, streams.values, streams.bytes) == (40, 0, 10)
    assert streams.bits_per_pixel == 8 * 10 / 40
    assert (streams.floats_per_pixel, streams.code_use) == (None, {})


def test_bits_of_a_codebook_that_is_not_counted():
    found = totals(
        LatentSpec("discrete", 4, 1, bits_per_value=32), Latent(torch.ones(1, 1, 1, 1), (4, 4))
    )
    assert (found.bits_per_pixel, found.code_use) == (2.0, {})
