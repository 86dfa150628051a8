"""Random numbers that belong to an image, so that the batch size changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ssdd_bench.api import Noise


class KeyedNoise:
    """Noise of one batch, from a generator per image.

    Sampled on the CPU in float32, where a seed gives the same numbers on every machine.

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
        """Sample standard normals, float32 (B, *shape); a second call continues the streams."""
        images = [torch.randn(tuple(shape), generator=one) for one in self._generators]
        return torch.stack(images).to(device)


class OrderedNoise:
    """Noise of one batch from generators that serve the whole set, image after image.

    The first call takes every image's numbers from ``torch.Generator().manual_seed(seed)``; each
    further call has a generator of its own. So the numbers depend on the order of the images and
    on no batch size.

    Args:
        seed: of the run.
        count: images in the batch.
        after: the batch before it; copies of its generators are continued, so that a batch that
            failed can be tried again.
        ids: of the batch's images, where a tokenizer may want to know them.
    """

    def __init__(
        self, seed: int, count: int, after: OrderedNoise | None = None, ids: Sequence[str] = ()
    ) -> None:
        self.ids = tuple(ids)
        self._seed = seed
        self._count = count
        self._next = 0
        self._generators: list[torch.Generator] = [
            one.clone_state() for one in (after._generators if after else [])
        ]

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Sample standard normals, float32 (B, *shape)."""
        if self._next == len(self._generators):
            seed = _key(self._seed, "ordered", str(self._next)) if self._next else self._seed
            self._generators.append(torch.Generator().manual_seed(seed))
        generator = self._generators[self._next]
        self._next += 1
        images = [torch.randn(tuple(shape), generator=generator) for _ in range(self._count)]
        return torch.stack(images).to(device)


class FixedNoise:
    """Repeat the numbers of a source, so that a timed call does not pay for sampling them."""

    def __init__(self, source: Noise) -> None:
        self.ids = source.ids
        self._source = source
        self._tensors: list[Tensor] = []
        self._next = 0

    def rewind(self) -> None:
        """Start again at the first tensor."""
        self._next = 0

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Return the tensor of this position, sampled if it is the first time."""
        if self._next == len(self._tensors):
            self._tensors.append(self._source.normal(shape, device=device))
        tensor = self._tensors[self._next]
        if tensor.shape[1:] != tuple(shape):
            raise ValueError(f"sample {self._next} was {tuple(tensor.shape[1:])}, now {shape}")
        self._next += 1
        return tensor


def _key(seed: int, stream: str, image_id: str) -> int:
    """Hash to 63 bits, since ``manual_seed`` takes a signed 64-bit number."""
    # File names that are not UTF-8 have surrogate escapes.
    text = f"{seed}\n{stream}\n{image_id}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
