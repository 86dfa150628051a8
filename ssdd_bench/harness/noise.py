"""Random numbers that belong to an image, so that batch size and order change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ssdd_bench.api import Noise


class KeyedNoise:
    """Noise of one batch: each image draws from its own generator (see :class:`api.Noise`).

    Drawn on the CPU in float32, where a seed gives the same numbers on every machine.

    Args:
        seed: of the run.
        ids: of the batch's images.
        stream: separates uses that must be independent, such as ``encode`` and ``decode``.
    """

    def __init__(self, seed: int, ids: Sequence[str], stream: str) -> None:
        self._generators = [
            torch.Generator().manual_seed(_key(seed, stream, image_id)) for image_id in ids
        ]

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal float32 (B, *shape); a second call goes on where the first ended."""
        drawn = [torch.randn(tuple(shape), generator=one) for one in self._generators]
        return torch.stack(drawn).to(device)


class PredrawnNoise:
    """The same numbers again and again, so that a timed call does not pay for drawing them.

    Args:
        source: drawn from on the first pass only.
    """

    def __init__(self, source: Noise) -> None:
        self._source = source
        self._drawn: list[Tensor] = []
        self._next = 0

    def rewind(self) -> None:
        """Start again at the first draw."""
        self._next = 0

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """The tensor of this position, drawn if it is the first time."""
        if self._next == len(self._drawn):
            self._drawn.append(self._source.normal(shape, device=device))
        tensor = self._drawn[self._next]
        if tensor.shape[1:] != tuple(shape):
            raise ValueError(f"draw {self._next} was {tuple(tensor.shape[1:])}, now {shape}")
        self._next += 1
        return tensor


def _key(seed: int, stream: str, image_id: str) -> int:
    """63 bits, since ``manual_seed`` takes a signed 64-bit number."""
    # File names that are not UTF-8 reach us with surrogate escapes. Newlines keep the three apart:
    # neither a number nor a stream's name holds one.
    text = f"{seed}\n{stream}\n{image_id}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
