"""Standard normals that are the same bits on every machine.

Integers come from Philox 4x64-10 (Salmon et al. 2011) with a key of 128 bits, and become normals by
the inverse of their distribution, AS 241 (Wichura 1988). Every step is a single operation of IEEE
754 (add, multiply, divide, root), each a NumPy call of its own, so that no compiler fuses two and
no library's logarithm takes part: neither the processor nor a version changes a bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 1 << 15
"""Numbers at a time, so that what is in between stays in the cache."""

# Numerators and denominators of AS 241 (PPND16), highest power first: for |p - 1/2| <= 0.425, and
# for tails down to p = exp(-25).
CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
TAIL = (
    (
        7.7454501427834140764e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
LN2 = 0.6931471805599453
ATANH = tuple(1 / (2 * k + 1) for k in range(12, -1, -1))
"""Coefficients of ``atanh(s) / s`` in powers of ``s**2``; enough for the mantissa of a float64."""


class NormalStream:
    """A stream of standard normals.

    Args:
        key: 16 bytes; streams of different keys are independent.
    """

    def __init__(self, key: bytes) -> None:
        self._philox = np.random.Philox(key=np.frombuffer(key, "<u8"))

    def sample(self, count: int) -> NDArray[np.float32]:
        """Return the next numbers; an odd count leaves half an integer of Philox unused."""
        words = self._philox.random_raw((count + 1) // 2).astype("<u8", copy=False)
        integers = words.view("<u4")[:count]
        numbers = np.empty(count, np.float32)
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            numbers[part] = _to_normal(integers[part])
        return numbers


def hash_key(*parts: object) -> bytes:
    """Hash a seed, a stream and an image id to a key of 128 bits."""
    # File names that are not UTF-8 have surrogate escapes.
    text = "\n".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()


def _to_normal(integers: NDArray[np.uint32]) -> Array:
    """Map integers to normals, the middles of 2^32 equal parts of (0, 1) being probabilities."""
    offset = integers.astype(np.float64)
    offset += 0.5 - 2.0**31
    offset *= 2.0**-32  # p - 1/2, exact
    squares = offset * offset
    np.subtract(0.180625, squares, out=squares)
    normal = _ratio(CENTRE, squares)
    normal *= offset
    (tail,) = np.nonzero(np.abs(offset) > 0.425)
    far = offset[tail]
    root = np.sqrt(-_log(0.5 - np.abs(far)))
    root -= 1.6
    normal[tail] = np.copysign(_ratio(TAIL, root), far)
    return normal


def _log(x: Array) -> Array:
    """Compute the natural logarithm of positive numbers, from IEEE operations alone."""
    mantissa, exponent = np.frexp(x)  # in [1/2, 1), exact
    small = mantissa < 0.7071067811865476
    mantissa = np.where(small, 2 * mantissa, mantissa)
    s = (mantissa - 1) / (mantissa + 1)
    return (exponent - small) * LN2 + 2 * s * _polynomial(ATANH, s * s)


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], x: Array) -> Array:
    numerator, denominator = (_polynomial(one, x) for one in coefficients)
    numerator /= denominator
    return numerator


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Evaluate a polynomial, highest power first, by Horner's rule."""
    value = coefficients[0] * x
    for one in coefficients[1:-1]:
        value += one
        value *= x
    value += coefficients[-1]
    return value
