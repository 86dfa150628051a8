"""Load a tokenizer, whatever form it is given in, and describe it for the record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import torch
from torch import nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.environment import hide_home
from ssdd_bench.plugins.adapters.diffusers import from_diffusers, is_diffusers_autoencoder
from ssdd_bench.plugins.discovery import BUILT_IN
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.outputs import check_described
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer, parse_request
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.schema import TokenizerRecord
from ssdd_bench.weights.files import sha256_file


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer in evaluation mode, and its description for the record."""

    tokenizer: Tokenizer
    record: TokenizerRecord


def load(
    tokenizer: str | TokenizerRequest | Tokenizer | Any,
    device: torch.device | str = "cpu",
    label: str = "",
) -> LoadedTokenizer:
    """Load a tokenizer in evaluation mode.

    Args:
        tokenizer: an id with options as on the command line (``"ssdd:steps=1"``), a parsed
            request, an object of :class:`ssdd_bench.api.Tokenizer`, or a diffusers autoencoder.
        device: where its networks go.
        label: name in tables; by default the id with its options, or the name of the class.

    Raises:
        UserError: there is no such tokenizer, several are named, or it cannot be loaded.
        WeightsError: a weights file cannot be read.
    """
    if isinstance(tokenizer, str):
        tokenizer = parse_request(tokenizer)
    if isinstance(tokenizer, TokenizerRequest):
        made = load_tokenizer(tokenizer, device=device)
        record = _describe_request(tokenizer, made, label)
    else:
        made = from_diffusers(tokenizer) if is_diffusers_autoencoder(tokenizer) else tokenizer
        if not isinstance(made, Tokenizer):
            raise UserError(
                f"tokenizer is a {type(tokenizer).__name__}: give an id such as 'ssdd', an object "
                "of ssdd_bench.api.Tokenizer, a diffusers autoencoder, or use from_functions"
            )
        made = made.to(device)
        check_described(label or type(made).__name__, made)
        record = _describe_object(tokenizer, made, label)
    for network in made.networks().values():
        network.eval()
    return LoadedTokenizer(made, record)


def load_once(
    tokenizer: str | TokenizerRequest | LoadedTokenizer, device: torch.device
) -> LoadedTokenizer:
    """Load a tokenizer, unless it is loaded already."""
    return tokenizer if isinstance(tokenizer, LoadedTokenizer) else load(tokenizer, device)


def label_of(tokenizer: str | TokenizerRequest | LoadedTokenizer) -> str:
    """Return the name of a tokenizer that may not be loaded yet."""
    if isinstance(tokenizer, str):
        return tokenizer
    return tokenizer.label if isinstance(tokenizer, TokenizerRequest) else tokenizer.record.label


def describe_external(
    role: Literal["reconstructions", "samples"], label: str, stochastic: bool
) -> TokenizerRecord:
    """Describe a system that only its images are known of.

    Args:
        role: what it made: ``reconstructions`` or ``samples``.
        label: name in tables.
        stochastic: True if another run of it would give other images.
    """
    return TokenizerRecord(
        label=label,
        id=role,
        options={},
        title=label,
        family=role,
        role=role,
        licence="",
        version="",
        note=f"{role} made elsewhere",
        stochastic=stochastic,
        weights={},
        params_encoder=0,
        params_decoder=0,
    )


def _describe_request(
    request: TokenizerRequest, tokenizer: Tokenizer, label: str
) -> TokenizerRecord:
    """Describe a plugin's tokenizer, down to the checksums of its weights."""
    info = TOKENIZERS.get(request.id)
    options = info.recorded_options(request.options, tokenizer)
    weights = _file_checksums(tokenizer)
    origin = info.weights_origin(weights)
    given = any(info.options[name].type == "path" for name in request.options)
    return TokenizerRecord(
        label=label or hide_home(request.label),
        id=info.id,
        options={k: hide_home(v) if isinstance(v, str) else v for k, v in options.items()},
        title=info.title,
        family=info.family,
        role=info.role,
        licence=info.licence,
        version=_version(info),
        note=info.note_on(origin, given),
        stochastic=is_stochastic(tokenizer, info.stochastic),
        weights=weights,
        weights_origin=origin,
        extra=tokenizer.info(),
        params_encoder=_count_parameters(tokenizer, "encoder"),
        params_decoder=_count_parameters(tokenizer, "decoder"),
    )


def _describe_object(given: object, tokenizer: Tokenizer, label: str) -> TokenizerRecord:
    """Describe a tokenizer that was made in Python; its weights are hashed in memory."""
    kind = type(given)
    networks = tokenizer.networks().items()
    weights = _file_checksums(tokenizer) | {role: sha256_module(one) for role, one in networks}
    return TokenizerRecord(
        label=label or kind.__name__,
        id=f"{kind.__module__}.{kind.__qualname__}",
        options={},
        title=label or kind.__name__,
        family=kind.__name__,
        role="tokenizer",
        licence="",
        version="",
        note="given as a Python object",
        stochastic=is_stochastic(tokenizer, tokenizer.steps is not None),
        # Of one that shows neither networks nor files, each evaluation is a job of its own.
        weights=weights or {"unknown": uuid4().hex},
        extra=tokenizer.info(),
        params_encoder=_count_parameters(tokenizer, "encoder"),
        params_decoder=_count_parameters(tokenizer, "decoder"),
    )


def _version(info: TokenizerInfo) -> str:
    """Return the version of a plugin; a third party's has a hash of its code too: ``1+0a1b2c3d``.

    So a plugin that was edited is measured again. What it imports from elsewhere is not known.
    """
    if info.source == BUILT_IN:
        return info.version
    digest = hashlib.sha256()
    for path in sorted(info.folder.rglob("*.py")):
        digest.update(path.relative_to(info.folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return f"{info.version}+{digest.hexdigest()[:8]}"


def is_stochastic(tokenizer: Tokenizer, otherwise: bool) -> bool:
    """Return True if decoding depends on noise; a tokenizer that does not say so is ``otherwise``.

    A manifest does not know of an exported program whether it takes noise.
    """
    return bool(getattr(tokenizer, "stochastic", otherwise))


def sha256_module(module: nn.Module) -> str:
    """Checksum of a module's state: names, dtypes, shapes and values, in alphabetical order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _file_checksums(tokenizer: Tokenizer) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in tokenizer.weights}


def _count_parameters(tokenizer: Tokenizer, role: str) -> int:
    network = tokenizer.networks().get(role)
    return sum(p.numel() for p in network.parameters()) if network else 0
