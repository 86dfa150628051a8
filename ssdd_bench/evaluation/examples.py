"""The first images of an evaluation, for the sample pictures and for the clock."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

EXAMPLES = 8
"""Images that a clock is given, and the least that are kept."""
SAVED = 64
"""The most images that are kept."""
SAVED_PIXELS = 2**23
"""Pixels of references, above which fewer images are kept."""


@dataclass(frozen=True)
class Examples:
    """The first images of an evaluation.

    Attributes:
        ids: as many as :func:`count_kept` says, or fewer.
        references: uint8 (N, 3, H, W) on the CPU.
        reconstructions: uint8, likewise; an empty tensor where there are none.
    """

    ids: tuple[str, ...]
    references: Tensor
    reconstructions: Tensor

    def first(self, count: int) -> Examples:
        """Return the first of these."""
        return Examples(self.ids[:count], self.references[:count], self.reconstructions[:count])


def count_kept(height: int, width: int) -> int:
    """Return how many images of a size in pixels are kept: 64 up to 362 px, 8 above 1024 px."""
    return max(EXAMPLES, min(SAVED, SAVED_PIXELS // (height * width)))
