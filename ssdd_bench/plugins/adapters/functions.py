"""A tokenizer made of two functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import OptionError, PluginError

Data = Tensor | Sequence[bytes]


class FunctionTokenizer(Tokenizer):
    """An encoder and a decoder that are functions; see :func:`from_functions`.

    Attributes:
        stochastic: whether the decoder takes noise.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Data],
        decode: Callable[..., Tensor],
        latent: LatentSpec,
        *,
        steps: int | None = None,
        stochastic: bool = False,
        networks: Mapping[str, nn.Module] | None = None,
        weights: Sequence[Path] = (),
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self._encode = encode
        self._decode = decode
        self._networks = dict(networks or {})
        self._info = dict(info or {})
        self.latent = latent
        self.steps = steps
        self.stochastic = stochastic
        self.weights = tuple(weights)
        self._check_arguments()

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Call the encoder; it is deterministic, so ``noise`` changes nothing.

        Raises:
            PluginError: it returned something other than ``latent`` describes.
        """
        size = (images.shape[-2], images.shape[-1])
        data: Any = self._encode(images)
        if self.latent.kind == "bytes":
            _check_bytes(data, len(images))
        else:
            _check_tensor(data, (len(images), *(self.latent.shape(*size) or ())), self.latent.kind)
        return Latent(data, size)

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Call the decoder, with the noise if it is stochastic.

        Raises:
            PluginError: it returned something other than float images of the right shape.
        """
        images: Any = self._decode(latent.data, *([noise] if self.stochastic else []))
        expected = (len(latent), 3, *latent.size)
        if not isinstance(images, Tensor) or not images.is_floating_point():
            raise PluginError(
                f"decode returned {_describe(images)}, expected a float tensor with values in "
                "[0, 1]. Convert its result."
            )
        if images.shape != expected:
            raise PluginError(
                f"decode returned shape {tuple(images.shape)}, expected {expected}. Fix decode."
            )
        return images.float()

    def networks(self) -> dict[str, nn.Module]:
        """Return the modules that were given."""
        return dict(self._networks)

    def info(self) -> dict[str, Any]:
        """Return the facts that were given."""
        return dict(self._info)

    def _check_arguments(self) -> None:
        for name, function in (("encode", self._encode), ("decode", self._decode)):
            if not callable(function):
                raise OptionError(f"{name} is {_describe(function)}. Pass a function.")
        spec: object = self.latent
        if not isinstance(spec, LatentSpec):
            raise OptionError(f"latent is {_describe(spec)}. Pass a LatentSpec.")
        if spec.kind not in ("continuous", "discrete", "bytes"):
            raise OptionError(
                f"latent.kind is '{spec.kind}'. Pass 'continuous', 'discrete' or 'bytes'."
            )
        if spec.f < 1:
            raise OptionError(f"latent.f is {spec.f}. Pass pixels per latent cell, 1 or more.")
        if (spec.kind == "discrete") != (spec.bits_per_value is not None):
            raise OptionError(
                f"latent.bits_per_value is {spec.bits_per_value} for kind '{spec.kind}'. Pass "
                "log2 of the codebook's size for 'discrete' and None for the others."
            )
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"steps is {self.steps}. Pass None or 1 or more.")
        if unknown := self._networks.keys() - {"encoder", "decoder"}:
            raise OptionError(
                f"networks has the key '{min(unknown)}'. Use 'encoder' and 'decoder'."
            )
        for network in self._networks.values():
            network.eval()


def from_functions(
    encode: Callable[[Tensor], Data],
    decode: Callable[..., Tensor],
    latent: LatentSpec,
    steps: int | None = None,
    stochastic: bool = False,
    networks: Mapping[str, nn.Module] | None = None,
) -> Tokenizer:
    """Make a tokenizer of two functions.

    Both run without gradients. The functions move their own networks, unless they are given as
    ``networks``.

    Args:
        encode: takes float images (B, 3, H, W) in [0, 1] and returns a tensor (B, channels, h, w),
            of floats for a continuous latent and of integers for a discrete one; for kind
            ``bytes`` a list of B ``bytes`` objects.
        decode: takes what ``encode`` returned and returns float images (B, 3, H, W) in [0, 1].
            A stochastic decoder is called with a second argument, of class
            :class:`ssdd_bench.api.Noise`: ``noise.normal((3, H, W), device=...)`` gives standard
            normal numbers that depend on the image and the seed alone.
        latent: kind and shape of the latent.
        steps: network evaluations of the decoder per image, for an iterative one.
        stochastic: pass noise to ``decode``.
        networks: modules by role, ``encoder`` and ``decoder``. They are put into evaluation mode,
            moved to the device of the evaluation, and their parameters are counted.

    Raises:
        OptionError: an argument is of the wrong type or out of range.

    Example:
        >>> import torch.nn.functional as F
        >>> from ssdd_bench.api import LatentSpec
        >>> tokenizer = from_functions(
        ...     lambda images: F.avg_pool2d(images, 8),
        ...     lambda latents: F.interpolate(latents, scale_factor=8),
        ...     LatentSpec("continuous", f=8, channels=3),
        ... )
    """
    return FunctionTokenizer(
        encode, decode, latent, steps=steps, stochastic=stochastic, networks=networks
    )


def _check_bytes(data: object, count: int) -> None:
    if not isinstance(data, Sequence) or not all(isinstance(one, bytes) for one in data):
        raise PluginError(
            f"encode returned {_describe(data)}, expected a list of bytes. Return one bytes "
            "object per image."
        )
    if len(data) != count:
        raise PluginError(
            f"encode returned {len(data)} bytes objects, expected {count}. Return one per image."
        )


def _check_tensor(data: object, expected: tuple[int, ...], kind: str) -> None:
    if not isinstance(data, Tensor):
        raise PluginError(f"encode returned {_describe(data)}, expected a tensor. Return a tensor.")
    if data.shape != expected:
        raise PluginError(
            f"encode returned shape {tuple(data.shape)}, expected {expected}. Fix encode or latent."
        )
    if data.is_floating_point() != (kind == "continuous"):
        numbers = "floats" if kind == "continuous" else "integers"
        raise PluginError(
            f"encode returned {data.dtype}, expected {numbers} for a {kind} latent. Convert its "
            "result or change latent.kind."
        )


def _describe(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
