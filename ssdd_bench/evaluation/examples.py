"""The first images of an evaluation, for the sample picture and for the clock."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

EXAMPLES = 8
"""Images that are kept."""


@dataclass(frozen=True)
class Examples:
    """The first images of an evaluation.

    Attributes:
        ids: at most :data:`EXAMPLES`.
        references: uint8 (N, 3, H, W) on the CPU.
        reconstructions: uint8, likewise; an empty tensor where there are none.
    """

    ids: tuple[str, ...]
    references: Tensor
    reconstructions: Tensor
