"""Random numbers that belong to an image, so that the batch size changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from ssdd_bench.api import Noise
from ssdd_bench.api.normal import NormalStream, hash_key

VERSION: Final = "philox"
"""Name of the numbers of :class:`KeyedNoise`; protocols state it."""


class KeyedNoise:
    """Noise of one batch, from a stream per image.

    Sampled on the CPU in float32, the same bits on every machine, see
    :mod:`ssdd_bench.api.normal`.

    Args:
        seed: of the run.
        ids: of the batch's images.
        stream: separates uses that must be independent, such as ``encode`` and ``decode``.
        pin: sample into page-locked memory, from which copies to a GPU are asynchronous.
    """

    def __init__(self, seed: int, ids: Sequence[str], stream: str, pin: bool = False) -> None:
        self.ids = tuple(ids)
        self._pin = pin
        self._streams = [NormalStream(hash_key(seed, stream, image_id)) for image_id in ids]

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Sample standard normals, float32 (B, *shape); a second call continues the streams."""
        images = _empty(len(self._streams), shape, self._pin)
        for image, stream in zip(images, self._streams, strict=True):
            image.copy_(torch.from_numpy(stream.sample(image.numel())).view(image.shape))
        return images.to(device, non_blocking=self._pin)


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
        pin: sample into page-locked memory.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        after: OrderedNoise | None = None,
        ids: Sequence[str] = (),
        pin: bool = False,
    ) -> None:
        self.ids = tuple(ids)
        self._pin = pin
        self._seed = seed
        self._count = count
        self._next = 0
        self._generators: list[torch.Generator] = [
            one.clone_state() for one in (after._generators if after else [])
        ]

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Sample standard normals, float32 (B, *shape)."""
        if self._next == len(self._generators):
            key = int.from_bytes(hash_key(self._seed, "ordered", self._next)[:8], "big") >> 1
            self._generators.append(
                torch.Generator().manual_seed(key if self._next else self._seed)
            )
        generator = self._generators[self._next]
        self._next += 1
        images = _empty(self._count, shape, self._pin)
        for image in images:
            image.normal_(generator=generator)
        return images.to(device, non_blocking=self._pin)


class BatchNoise:
    """Noise of one batch that can be sampled ahead, and whose parts can be tried again.

    Args:
        make: starts the noise of the batch; called again if other shapes than foreseen are asked
            for, since the numbers of a call depend on the calls before it.
        shapes: foreseen, one for each call; sampled at once.

    Attributes:
        ids: of the batch's images.
    """

    def __init__(self, make: Callable[[], Noise], shapes: Sequence[tuple[int, ...]] = ()) -> None:
        self._make = make
        self._source = make()
        self.ids = self._source.ids
        self._tensors = [self._source.normal(shape) for shape in shapes]
        self._asked = 0

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes that parts of this batch asked for, in order."""
        return tuple(tuple(one.shape[1:]) for one in self._tensors[: self._asked])

    @property
    def sampled(self) -> Noise:
        """The noise of the batch after all that was sampled of it, foreseen or asked for."""
        return self._source

    @property
    def source(self) -> Noise:
        """The noise of the batch after what :attr:`shapes` took of it."""
        if len(self._tensors) > self._asked:
            self._restart(self._asked)
        return self._source

    def part(self, rows: slice) -> NoisePart:
        """Return the noise of some images of the batch, from its first call on."""
        return NoisePart(self, rows)

    def _call(self, index: int, shape: tuple[int, ...]) -> Tensor:
        """Return the numbers of a call for the whole batch."""
        if index < len(self._tensors) and self._tensors[index].shape[1:] != shape:
            self._restart(index)
        if index == len(self._tensors):
            self._tensors.append(self._source.normal(shape))
        self._asked = max(self._asked, index + 1)
        return self._tensors[index]

    def _restart(self, calls: int) -> None:
        """Go back to where the noise was after some calls."""
        self._source = self._make()
        self._tensors = [self._source.normal(one.shape[1:]) for one in self._tensors[:calls]]
        self._asked = calls


class NoisePart:
    """Noise of some images of a batch, see :meth:`BatchNoise.part`."""

    def __init__(self, batch: BatchNoise, rows: slice) -> None:
        self.ids = batch.ids[rows]
        self._batch = batch
        self._rows = rows
        self._next = 0

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Return standard normals, float32 (B, *shape); a second call continues the streams."""
        index, self._next = self._next, self._next + 1
        rows = self._batch._call(index, tuple(shape))[self._rows]
        if torch.device(device).type == "cpu":
            return rows.clone()  # A plugin may change in place what it is given.
        return rows.to(device, non_blocking=rows.is_pinned())


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


def _empty(count: int, shape: Sequence[int], pin: bool) -> Tensor:
    return torch.empty(count, *shape, dtype=torch.float32, pin_memory=pin)
