"""The classes that a tokenizer plugin implements, and those that it receives.

Outside a plugin images are ``uint8`` or float in [0, 1], NCHW, RGB; a network's [-1, 1] stays
inside its plugin. This module imports torch for type checking only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ssdd_bench.errors import DataError, ResolutionError, counted

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
        f: image pixels per latent cell along one side; 0 for tokens in a row.
        channels: values per latent cell or token (0 for ``bytes``).
        bits_per_value: bits of one value for ``discrete`` latents, else None.
        tokens: number of tokens in a row, whatever the image's size; None for a grid of cells.
    """

    kind: LatentKind
    f: int
    channels: int
    bits_per_value: float | None = None
    tokens: int | None = None

    def problem(self) -> str:
        """Describe the value that makes no sense; empty if all do."""
        if self.kind not in get_args(LatentKind):
            return f"kind is '{self.kind}', not one of {', '.join(get_args(LatentKind))}"
        if self.tokens is not None and (self.tokens < 1 or self.f != 0 or self.kind == "bytes"):
            return f"tokens is {self.tokens} with f {self.f}: a row has 1 or more, and an f of 0"
        if (self.f < 1 and self.tokens is None) or self.channels < 0:
            return f"f is {self.f} and channels {self.channels}: give 1 and 0, or more"
        if (self.kind == "discrete") != (self.bits_per_value is not None):
            return (
                f"bits_per_value is {self.bits_per_value} for kind '{self.kind}': give log2 of the "
                "codebook's size for 'discrete' and None for the others"
            )
        return ""

    @property
    def name(self) -> str:
        """Its size in short: "f8c4", "32 tokens, c16", or "bytes"."""
        if self.kind == "bytes":
            return "bytes"
        if self.tokens is not None:
            return f"{self.tokens} tokens, c{self.channels}"
        return f"f{self.f}c{self.channels}"

    @property
    def multiple(self) -> int:
        """Number of pixels whose multiples the sides of images are."""
        return self.f or 1

    def shape(self, height: int, width: int) -> tuple[int, int, int] | None:
        """Return (channels, h, w) for an image of ``height`` x ``width``; None for ``bytes``.

        A row of tokens is one cell high.
        """
        if self.kind == "bytes":
            return None
        if self.tokens is not None:
            return (self.channels, 1, self.tokens)
        return (self.channels, height // self.f, width // self.f)


@dataclass(frozen=True)
class Latent:
    """A batch of encoded images.

    Attributes:
        data: tensor (B, channels, h, w), with h = 1 for tokens in a row, or a list of B ``bytes``
            objects for codecs.
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
        """Ids of the batch's images, in order; empty where they are not known."""
        ...

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Sample standard normals, float32 (B, *shape), on the CPU and move them to ``device``."""
        ...


class Tokenizer(ABC):
    """An encoder and a decoder of images, ready to run.

    Attributes:
        latent: what the encoder produces.
        steps: decoder network evaluations per image; None where a decoder has no steps.
        weights: files the networks were loaded from, for their checksums.
        warnings: remarks that every result of it shall carry, such as a setting that is a guess.
        changed: global settings that loading it changed, which were put back; set by the registry.
    """

    latent: LatentSpec
    steps: int | None = None
    weights: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Encode float images (B, 3, H, W) in [0, 1].

        Args:
            images: on the tokenizer's device, float32; H and W are multiples of
                ``latent.multiple``.
            noise: None encodes to the posterior's mode, otherwise to one sample of it.
        """

    @abstractmethod
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Decode to float32 images (B, 3, H, W), nominally in [0, 1] but not clamped or rounded.

        The evaluation clamps and rounds to uint8, once, for every tokenizer.
        """

    def reconstruct(
        self, images: Tensor, seed: int = 0, ids: Sequence[str] | None = None
    ) -> Tensor:
        """Encode and decode images.

        Args:
            images: (B, 3, H, W), uint8 or float in [0, 1], on any device.
            seed: of the decoder's noise.
            ids: of the images; noise is keyed by seed and id. By default "0", "1" and so on.

        Returns:
            Reconstructions of the same type, shape and device, in the same range.

        Raises:
            DataError: the images have another type, range or shape, or another number of ids.
            ResolutionError: a side is not a multiple of ``latent.multiple``.
            PluginError: a pixel is not finite.

        Examples:
            >>> tokenizer = ssdd_bench.load_tokenizer("ssdd")
            >>> reconstructions = tokenizer.reconstruct(torch.rand(2, 3, 64, 64), seed=0)
        """
        import torch

        from ssdd_bench.api.noise import KeyedNoise
        from ssdd_bench.api.pixels import to_uint8

        _check_images(images, self.latent.multiple, None if ids is None else len(ids))
        ids = [str(index) for index in range(len(images))] if ids is None else list(ids)
        parameters = (p for network in self.networks().values() for p in network.parameters())
        device = next((p.device for p in parameters), torch.device("cpu"))
        is_uint8 = images.dtype == torch.uint8
        floats = images.to(device).float() / (255 if is_uint8 else 1)
        with torch.inference_mode():
            decoded = self.decode(self.encode(floats), KeyedNoise(seed, ids, "decode"))
            rounded = to_uint8(decoded, ids)  # which also checks that all pixels are finite
        return (rounded if is_uint8 else decoded.clamp(0, 1)).to(images)

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks by role, ``encoder`` and ``decoder``; empty for codecs."""
        return {}

    def info(self) -> dict[str, Any]:
        """Return JSON-ready facts for the result file that only the loaded model knows."""
        return {}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Tokenizer:
        """Move every network and return the tokenizer."""
        for network in self.networks().values():
            network.to(device=device, dtype=dtype)
        return self


def _check_images(images: object, f: int, ids: int | None) -> None:
    """Refuse what would be taken for other images, or fail deep inside a network.

    Raises:
        DataError: see :meth:`Tokenizer.reconstruct`.
        ResolutionError: likewise.
    """
    import torch

    from ssdd_bench.api.pixels import check_range

    if not isinstance(images, torch.Tensor):
        kind = type(images).__name__
        raise DataError(f"images are a {kind}: give a tensor (B, 3, H, W), uint8 or float")
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise DataError(f"images have shape {tuple(images.shape)}, expected (B, 3, H, W)")
    if images.is_floating_point():
        check_range(images)
    elif images.dtype != torch.uint8:
        kind = str(images.dtype).removeprefix("torch.")
        raise DataError(f"images are {kind}: give uint8, or float in [0, 1]")
    if ids is not None and ids != len(images):
        raise DataError(f"{counted(ids, 'id')} for {counted(len(images), 'image')}: give one each")
    height, width = images.shape[2:]
    if height % f or width % f:
        raise ResolutionError(
            f"images of {height} x {width} px are not multiples of f = {f}: crop or resize them"
        )
