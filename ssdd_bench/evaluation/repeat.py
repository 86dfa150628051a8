"""Calls of a tokenizer, and the same again, to see if it keeps to its noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssdd_bench.api import Latent, Noise, Tokenizer
from ssdd_bench.api.noise import KeyedNoise, OrderedNoise
from ssdd_bench.evaluation.execution import autocast
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.plugins.outputs import (
    EXACT_TOLERANCE,
    REDUCED_TOLERANCE,
    check_decoded,
    check_latent,
    repeat_fault,
)
from ssdd_bench.protocols.schema import Protocol


def round_trip(
    tokenizer: Tokenizer,
    guard: Guard,
    protocol: Protocol,
    references: Tensor,
    encode_noise: Noise | None,
    decode_noise: Noise,
) -> tuple[Latent, Tensor]:
    """Encode and decode images, and check what is returned.

    Args:
        tokenizer: on the device of ``references``.
        guard: of its calls.
        protocol: of the number format.
        references: uint8 (B, 3, H, W).
        encode_noise: None for the mode of the posterior.
        decode_noise: of the decoder.

    Returns:
        The latent, and floats (B, 3, H, W).

    Raises:
        PluginError: the plugin broke its contract.
    """
    images = references.float() / 255
    with guard.calls(), autocast(references.device, protocol):
        latent = tokenizer.encode(images, encode_noise)
        check_latent(tokenizer.latent, latent, images)
        decoded = tokenizer.decode(latent, decode_noise)
        check_decoded(decoded, images.shape)
    return latent, decoded


def repeat_first_image(
    tokenizer: Tokenizer,
    guard: Guard,
    protocol: Protocol,
    seed: int,
    ids: Sequence[str],
    reference: Tensor,
    decoded: Tensor,
    alone: bool,
) -> str:
    """Encode and decode the first image of a job once more, and describe a difference.

    Torch's own random numbers are then as they were before, so that no later image depends on it.

    Args:
        tokenizer: on the device of ``reference``.
        guard: of the tokenizer's calls.
        protocol: how to encode and decode, in the number format that is used.
        seed: of the noise.
        ids: of the image, one.
        reference: uint8 (1, 3, H, W).
        decoded: floats (1, 3, H, W) that it was decoded to before.
        alone: True if it was alone in its batch: on a CPU the bits must then be the same.

    Returns:
        "" if there is no difference.

    Raises:
        PluginError: the plugin broke its contract in the second call.
    """
    device = reference.device
    sampled = protocol.posterior == "sample"
    encode_noise = KeyedNoise(seed, ids, "encode") if sampled else None
    decode_noise: Noise = KeyedNoise(seed, ids, "decode")
    if protocol.decoder_noise == "ordered":
        decode_noise = OrderedNoise(seed, 1, ids=ids)
    is_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if is_gpu else []):
        _, again = round_trip(tokenizer, guard, protocol, reference, encode_noise, decode_noise)
    if alone and not is_gpu:
        return repeat_fault(decoded, again)
    is_exact = protocol.number_format == "float32" and not (protocol.tf32 and is_gpu)
    return repeat_fault(decoded, again, EXACT_TOLERANCE if is_exact else REDUCED_TOLERANCE)
