"""A tokenizer made of two functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import OptionError
from ssdd_bench.plugins.outputs import check_decoded, check_described, check_latent

Data = Tensor | Sequence[bytes]


class FunctionTokenizer(Tokenizer):
    """A tokenizer made of two functions.

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
            moved to the device of the evaluation, and their parameters are counted. The functions
            receive images and latents in the dtype of their weights.
        weights: files of the networks, whose checksums a result records.
        info: other facts for the result.

    Raises:
        OptionError: ``encode`` or ``decode`` is no function.
        PluginError: another argument is of the wrong type or out of range.

    Examples:
        >>> import torch.nn.functional as F
        >>> from ssdd_bench.api import LatentSpec
        >>> tokenizer = from_functions(
        ...     lambda images: F.avg_pool2d(images, 8),
        ...     lambda latents: F.interpolate(latents, scale_factor=8),
        ...     LatentSpec("continuous", f=8, channels=3),
        ... )
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Data],
        decode: Callable[..., Tensor],
        latent: LatentSpec,
        steps: int | None = None,
        stochastic: bool = False,
        networks: Mapping[str, nn.Module] | None = None,
        weights: Sequence[Path] = (),
        info: Mapping[str, Any] | None = None,
    ) -> None:
        for name, function in (("encode", encode), ("decode", decode)):
            if not callable(function):
                raise OptionError(f"{name} is {type(function).__name__}. Pass a function.")
        self._encode = encode
        self._decode = decode
        self._networks = dict(networks or {})
        self._info = dict(info or {})
        self.latent = latent
        self.steps = steps
        self.stochastic = stochastic
        self.weights = tuple(weights)
        if type(self) is FunctionTokenizer:  # a derived class is not whole yet
            check_described("from_functions", self)
        for network in self._networks.values():
            network.eval()

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Call the encoder; it is deterministic, so ``noise`` changes nothing.

        Raises:
            PluginError: it returned something other than ``latent`` describes.
        """
        data: Any = self._encode(self._as_weights("encoder", images))
        is_half = isinstance(data, Tensor) and data.dtype in (torch.bfloat16, torch.float16)
        latent = Latent(data.float() if is_half else data, (images.shape[-2], images.shape[-1]))
        check_latent(self.latent, latent, images)
        return latent

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Call the decoder, with the noise if it is stochastic.

        Raises:
            PluginError: it returned something other than float images of the right shape.
        """
        data = self._as_weights("decoder", latent.data)
        images = self._decode(data, *([noise] if self.stochastic else []))
        check_decoded(images, (len(latent), 3, *latent.size))
        return images.float()

    def _as_weights(self, role: str, data: Any) -> Any:
        """Convert floats to the dtype of the network that will read them."""
        network = self._networks.get(role)
        parameters = network.parameters() if network is not None else iter(())
        dtype = next((one.dtype for one in parameters if one.is_floating_point()), None)
        is_float = isinstance(data, Tensor) and data.is_floating_point()
        return data.to(dtype) if dtype is not None and is_float else data

    def networks(self) -> dict[str, nn.Module]:
        """Return the modules that were given."""
        return dict(self._networks)

    def info(self) -> dict[str, Any]:
        """Return the facts that were given."""
        return dict(self._info)


from_functions = FunctionTokenizer
