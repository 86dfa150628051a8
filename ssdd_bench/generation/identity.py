"""Identity of a latent space: a hash of the encoder, not a name.

Decoders that share an encoder can decode the same latents: several steps of one, one step of
another. So latents and the networks trained on them carry a hash of the encoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.launch_groups import launch_groups
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer, label_of, load
from ssdd_bench.launch.tasks import Group, Opened, Progress, Worker
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


@dataclass(frozen=True)
class EncoderIdentity:
    """The encoder of a tokenizer.

    Attributes:
        label: of the tokenizer.
        sha256: see :func:`encoder_sha256`.
        f: image pixels per latent cell along one side.
    """

    label: str
    sha256: str
    f: int

    @classmethod
    def of(cls, loaded: LoadedTokenizer) -> EncoderIdentity:
        """Identify the encoder of a tokenizer that is loaded."""
        return cls(loaded.record.label, encoder_sha256(loaded), loaded.tokenizer.latent.f)

    def check(self, expected: str, label: str, what: str) -> None:
        """Check that this is the encoder, of this hash and label, that made some latents.

        Raises:
            UserError: the hashes differ; ``what`` names the owner of the latents.
        """
        if self.sha256 != expected:
            raise UserError(
                f"{what}: latents are those of '{label}' (encoder {expected[:10]}), which "
                f"'{self.label}' (encoder {self.sha256[:10]}) cannot decode: use a tokenizer "
                "with that encoder, or encode and train again"
            )


def check_encoder(loaded: LoadedTokenizer, expected: str, label: str, what: str) -> None:
    """Check a tokenizer that is loaded, see :meth:`EncoderIdentity.check`."""
    EncoderIdentity.of(loaded).check(expected, label, what)


def identify_encoders(
    tokenizers: Sequence[str | TokenizerRequest], device: torch.device, launch: Launch
) -> list[EncoderIdentity]:
    """Load tokenizers where a launch has its workers, and identify their encoders.

    Raises:
        UserError: one cannot be loaded, or has no encoder that a network can be trained for.
    """
    groups = [EncoderGroup(one) for one in tokenizers]
    found = launch_groups(groups, [], dict, device, replace(launch, share=None, rank=None))
    return [found[number, 0] for number in range(len(groups))]


class EncoderGroup(Group[EncoderIdentity]):
    """A job without images: it identifies an encoder."""

    def __init__(self, tokenizer: str | TokenizerRequest) -> None:
        self.tokenizer = tokenizer
        self.name = label_of(tokenizer)
        self.jobs = (self.name,)

    def load(self, device: str) -> EncoderWorker:
        """Load the tokenizer."""
        return EncoderWorker(load(self.tokenizer, device))


class EncoderWorker(Worker[EncoderIdentity]):
    """Identifies an encoder."""

    def __init__(self, loaded: LoadedTokenizer) -> None:
        self._loaded = loaded

    def open(self, job: int) -> Opened[EncoderIdentity]:
        """Return the result at once."""
        return Opened(self._loaded.record.label, result=EncoderIdentity.of(self._loaded))

    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Do nothing: there are no chunks."""

    def time(self, job: int, progress: Progress) -> None:
        """Do nothing: there is no clock."""

    def finish(self, job: int, progress: Progress) -> EncoderIdentity:
        """Return the result."""
        return EncoderIdentity.of(self._loaded)
