"""Random numbers that belong to an image, so that the batch size changes nothing."""

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
        self.ids = tuple(ids)
        self._generators = [
            torch.Generator().manual_seed(_key(seed, stream, image_id)) for image_id in ids
        ]

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal float32 (B, *shape); a second call goes on where the first ended."""
        drawn = [torch.randn(tuple(shape), generator=one) for one in self._generators]
        return torch.stack(drawn).to(device)


class OrderedNoise:
    """Noise of one batch from generators that serve the whole set, image after image.

    The first draw of every image comes from ``torch.Generator().manual_seed(seed)``, as if nothing
    else drew from it; each further draw has a generator of its own. So the numbers depend on the
    order of the images and on no batch size. Drawn on the CPU in float32.

    Args:
        seed: of the run.
        count: images in the batch.
        after: the batch before it; copies go on where its generators ended, so that a batch which
            failed can be tried again.
        ids: of the batch's images, where a tokenizer may want to know them.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        after: OrderedNoise | None = None,
        ids: Sequence[str] = (),
    ) -> None:
        self.ids = tuple(ids)
        self._seed = seed
        self._count = count
        self._next = 0
        self._generators: list[torch.Generator] = [
            torch.Generator().set_state(one.get_state())
            for one in (after._generators if after else [])
        ]

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal float32 (B, *shape); a second call is every image's second draw."""
        if self._next == len(self._generators):
            seed = _key(self._seed, "ordered", str(self._next)) if self._next else self._seed
            self._generators.append(torch.Generator().manual_seed(seed))
        generator = self._generators[self._next]
        self._next += 1
        drawn = [torch.randn(tuple(shape), generator=generator) for _ in range(self._count)]
        return torch.stack(drawn).to(device)


class PredrawnNoise:
    """The same numbers again and again, so that a timed call does not pay for drawing them.

    Args:
        source: drawn from on the first pass only.
    """

    def __init__(self, source: Noise) -> None:
        self.ids = source.ids
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
