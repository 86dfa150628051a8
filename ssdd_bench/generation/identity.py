"""Identity of a latent space: a hash of the encoder, not a name.

Decoders that share an encoder can decode the same latents: several steps of one, one step of
another. So latents and the networks trained on them carry a hash of the encoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.fingerprint import canonical_json


def encoder_sha256(loaded: LoadedTokenizer) -> str:
    """Hash an encoder: its weights in float32 and the shape of its latents.

    An encoder without weights is known by the tokenizer's id, version and options. Scaling
    factors in a model's configuration are not part of the hash; :mod:`ssdd_bench.generation.check`
    warns of decoding with another one.

    Raises:
        PluginError: the latents are not continuous, or no grid: no network here models them.
    """
    tokenizer, record = loaded.tokenizer, loaded.record
    spec = tokenizer.latent
    if spec.kind != "continuous":
        raise PluginError(
            f"'{record.label}' has {spec.kind} latents and a DiT needs continuous ones: use a "
            "tokenizer with continuous latents"
        )
    if spec.tokens is not None:
        raise PluginError(
            f"'{record.label}' has {spec.tokens} tokens in a row and a DiT needs a grid: use a "
            "tokenizer whose latent is a grid"
        )
    digest = hashlib.sha256(canonical_json([spec.f, spec.channels]).encode())
    encoder = tokenizer.networks().get("encoder")
    if encoder is None:
        text = canonical_json([record.id, record.version, record.options])
        digest.update(text.encode())
        return digest.hexdigest()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def check_encoder(loaded: LoadedTokenizer, expected: str, label: str, what: str) -> None:
    """Check that a tokenizer has the encoder, of this hash and label, that made some latents.

    Raises:
        UserError: the hashes differ; ``what`` names the owner of the latents.
        PluginError: see :func:`encoder_sha256`.
    """
    if (found := encoder_sha256(loaded)) != expected:
        raise UserError(
            f"{what}: latents are those of '{label}' (encoder {expected[:10]}), which "
            f"'{loaded.record.label}' (encoder {found[:10]}) cannot decode: use a tokenizer "
            "with that encoder, or encode and train again"
        )


def check_shared_encoder(
    tokenizer: str, decoders: Sequence[TokenizerRequest]
) -> tuple[str, list[str]]:
    """Check that decoders have the encoder of a tokenizer; load one after another, on the CPU.

    Returns:
        The hash of the encoder, and the labels of the decoders.

    Raises:
        UserError: one cannot be loaded, has no encoder that a network can be trained for, or has
            another one.
    """
    first = load(tokenizer)
    encoder, labels = encoder_sha256(first), []
    for request in decoders:
        decoder = load(request)
        check_encoder(decoder, encoder, first.record.label, "--decoders")
        labels.append(decoder.record.label)
    return encoder, labels
