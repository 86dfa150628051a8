"""Identity of a latent space: a hash of the encoder, not a name.

Decoders that share an encoder can decode the same latents: several steps of one, one step of
another. So latents and the networks trained on them carry a hash of the encoder.
"""

from __future__ import annotations

import hashlib

import torch

from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.results.fingerprint import canonical_json


def encoder_sha256(loaded: LoadedTokenizer) -> str:
    """Hash an encoder: its weights in float32 and the shape of its latents.

    An encoder without weights is known by the tokenizer's id, version and options. Scaling
    factors in a model's configuration are not part of the hash; :mod:`ssdd_bench.generation.check`
    warns of decoding with another one.

    Raises:
        PluginError: the latents are not continuous, so no network can be trained on them.
    """
    tokenizer, record = loaded.tokenizer, loaded.record
    spec = tokenizer.latent
    if spec.kind != "continuous":
        raise PluginError(
            f"'{record.label}' has {spec.kind} latents and a DiT needs continuous ones: use a "
            "tokenizer with continuous latents"
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
    """
    found = encoder_sha256(loaded)
    if found != expected:
        raise UserError(
            f"{what}: latents are those of '{label}' (encoder {expected[:10]}), which "
            f"'{loaded.record.label}' (encoder {found[:10]}) cannot decode: use a tokenizer "
            "with that encoder, or encode and train again"
        )
