"""What a tokenizer plugin implements and what the harness gives it.

Outside a plugin images are ``uint8`` or float in [0, 1], NCHW, RGB; a network's [-1, 1] stays
inside its plugin. This module imports torch for type checking only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LatentKind = Literal["continuous", "discrete", "bytes"]


@dataclass(frozen=True)
class LatentSpec:
    """The shape of a latent, by which tokenizers are grouped and compared.

    Attributes:
        kind: ``continuous`` (floats), ``discrete`` (codebook indices or quantised levels) or
            ``bytes`` (a codec's stream, whose size differs per image).
        f: image pixels per latent cell along one side.
        channels: values per latent cell (0 for ``bytes``).
        bits_per_value: bits of one value for ``discrete`` latents, else None.
    """

    kind: LatentKind
    f: int
    channels: int
    bits_per_value: float | None = None

    def shape(self, height: int, width: int) -> tuple[int, int, int] | None:
        """Latent shape (channels, h, w) of a ``height`` x ``width`` image; None for ``bytes``."""
        if self.kind == "bytes":
            return None
        return (self.channels, height // self.f, width // self.f)


@dataclass(frozen=True)
class Latent:
    """A batch of encoded images.

    Attributes:
        data: tensor (B, channels, h, w), or a list of B ``bytes`` objects for codecs.
        size: (height, width) in pixels of the images to decode to.
    """

    data: Tensor | Sequence[bytes]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.data)


class Noise(Protocol):
    """Random numbers for one batch, which depend on the image and not on its batch.

    A second call continues each image's own stream.
    """

    @property
    def ids(self) -> Sequence[str]:
        """Names of the batch's images, in order; empty where they are not known."""
        ...

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal float32 (B, *shape), drawn on the CPU and moved to ``device``."""
        ...


class Tokenizer(ABC):
    """An encoder and a decoder of images, ready to run.

    Attributes:
        latent: what the encoder produces.
        steps: decoder network evaluations per image, None where the word has no meaning.
        weights: files the networks were loaded from, for their checksums.
    """

    latent: LatentSpec
    steps: int | None = None
    weights: tuple[Path, ...] = ()

    @abstractmethod
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Encode float images (B, 3, H, W) in [0, 1].

        Args:
            images: on the tokenizer's device, float32; H and W are multiples of ``latent.f``.
            noise: None takes the posterior's mode; otherwise one sample drawn from it.
        """

    @abstractmethod
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Decode to float images (B, 3, H, W), nominally in [0, 1] but not clamped or rounded.

        The harness clamps and rounds to uint8, once, for every tokenizer.
        """

    def networks(self) -> dict[str, nn.Module]:
        """The trainable parts by role, ``encoder`` and ``decoder``; empty for codecs."""
        return {}

    def info(self) -> dict[str, Any]:
        """JSON-ready facts for the result file that only the loaded model knows."""
        return {}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Tokenizer:
        """Move every network; returns self."""
        for network in self.networks().values():
            network.to(device=device, dtype=dtype)
        return self
