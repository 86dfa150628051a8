"""Normals of a key: their exact values, their distribution, and keys that do not collide."""

import hashlib
from statistics import NormalDist

import numpy as np
import pytest

from ssdd_bench.api import normal
from ssdd_bench.api.normal import NormalStream, hash_key

KEY = hash_key(0, "decode", "a")
SHA256 = "89efe26c17609c6731dac7fb7462076504d174a2c3d82164863306b140606ed4"
"""SHA-256 of the first million numbers of :data:`KEY`, on every machine."""


def test_a_million_numbers_have_these_bits():
    numbers = NormalStream(KEY).sample(1_000_000)
    assert hashlib.sha256(numbers.astype("<f4").tobytes()).hexdigest() == SHA256


def test_numbers_are_the_inverse_distribution_of_philox():
    """An independent path: Python's AS 241, with the logarithm of the C library."""
    integers = np.random.Philox(key=np.frombuffer(KEY, "<u8")).random_raw(5000).view("<u4")
    expected = [NormalDist().inv_cdf((int(one) + 0.5) / 2**32) for one in integers]
    np.testing.assert_array_max_ulp(NormalStream(KEY).sample(10_000), np.float32(expected), 1)


def test_the_rarest_numbers():
    """Both ends, and both sides of the border between centre and tail."""
    border = round((0.5 + 0.425) * 2**32)
    integers = np.array([0, 1, 2**31 - 1, 2**31, border - 1, border, 2**32 - 2, 2**32 - 1], "<u4")
    expected = [NormalDist().inv_cdf((int(one) + 0.5) / 2**32) for one in integers]
    found = normal._to_normal(integers)
    assert found == pytest.approx(expected, rel=1e-14)
    assert (found[::-1][:2] == -found[:2]).all()
    assert (np.diff(found) > 0).all()


def test_the_logarithm_is_exact_to_rounding():
    x = np.concatenate([np.linspace(2**-33, 0.075, 10_001), 2.0 ** -np.arange(4, 34)])
    np.testing.assert_allclose(normal._log(x), np.log(x), rtol=4e-16)


def test_moments_are_those_of_a_standard_normal():
    numbers = NormalStream(KEY).sample(1_000_000).astype(np.float64)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        error = (numbers**power).mean() - moment
        assert abs(error) < 4 * np.sqrt(spread / len(numbers)), power


@pytest.mark.parametrize("counts", [(5, 7), (6, 6), (20_000, 3)])
def test_a_stream_goes_on(counts):
    """Calls take whole 64-bit words, so that a call does not depend on those after it."""
    stream = NormalStream(KEY)
    first, second = map(stream.sample, counts)
    skipped = counts[0] + counts[0] % 2
    whole = NormalStream(KEY).sample(skipped + counts[1])
    assert (first == whole[: counts[0]]).all()
    assert (second == whole[skipped:]).all()


def test_image_ids_whose_hashes_share_32_bits_have_noise_of_their_own():
    """Two names of ImageNet that met in a generator seeded with 32 bits."""
    one, other = (
        NormalStream(hash_key(3, "decode", f"ILSVRC2012_val_{number}.JPEG")).sample(8)
        for number in ("00021919", "00039593")
    )
    assert not (one == other).any()


def test_keys_have_128_bits():
    keys = {hash_key(0, "decode", number) for number in range(1000)}
    assert {len(key) for key in keys} == {16}
    bits = np.unpackbits(np.frombuffer(b"".join(keys), np.uint8).reshape(1000, 16), axis=1)
    assert (np.abs(bits.mean(0) - 0.5) < 0.08).all()  # each bit is set in about half of the keys
