"""Noise of a decoder, from generators or from a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import counted

Generators = torch.Generator | Sequence[torch.Generator] | None


@torch.library.custom_op("ssdd_bench::fixed_noise", mutates_args=())
def fixed_noise(seed: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return standard normals (1, 3, height, width), float32, which are the same on every machine.

    They are those of the first image in :meth:`ssdd_bench.api.Tokenizer.reconstruct`. An operator
    of its own, since torch.compile cannot look into NumPy's generator.
    """
    return KeyedNoise(seed, ["0"], "decode").normal((3, height, width), device=device)


@fixed_noise.register_fake
def _(seed: int, height: int, width: int, device: torch.device) -> Tensor:
    return torch.empty(1, 3, height, width, device=device)


def decoder_noise(
    batch: int, size: tuple[int, int], device: torch.device, seed: int, generator: Generators
) -> Tensor:
    """Return standard normals (batch, 3, height, width), float32.

    Args:
        batch: number of images.
        size: (height, width) in pixels.
        device: of the result.
        seed: of the field that every image has where there is no generator, so that an image does
            not depend on its place in a batch.
        generator: one for all images, which are sampled one after the other; or one for each.

    Raises:
        ValueError: there is another number of generators than images.
    """
    if generator is None:
        return fixed_noise(seed, *size, device).expand(batch, -1, -1, -1)
    if not isinstance(generator, torch.Generator) and len(generator) != batch:
        raise ValueError(
            f"{counted(len(generator), 'generator')} for {counted(batch, 'image')}: give as many"
        )
    each = [generator] * batch if isinstance(generator, torch.Generator) else generator
    shape = (1, 3, *size)
    return torch.cat([randn_tensor(shape, one, device, torch.float32) for one in each])
