"""Adapter: a tiny encoder and decoder, in the original layout or in that of diffusers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.functions import from_functions
from ssdd_bench.weights.files import load_strict, load_tensors
from ssdd_bench.weights.hub import fetch

from .network import build_decoder, build_encoder, scale_of

SUFFIXES = (".pth", ".safetensors")
# diffusers numbers the decoder's layers from the one after the clamp.
JOINT = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")


def load(path: str, model: str) -> Tokenizer:
    """Load one of the family.

    Args:
        path: see the manifest.
        model: one of the manifest's; empty for TAESD itself.

    Raises:
        WeightsError: a file is missing, out of reach or damaged, or not of this model.
    """
    manifest = tomllib.loads((Path(__file__).parent / "tokenizer.toml").read_text("utf-8"))
    known = manifest["models"][model] if model else manifest
    name = model or manifest["id"]
    files = _find(Path(path)) if path else _fetch(name, known["published"])
    encoder_state, decoder_state = _read(files)
    encoder = _build(build_encoder, encoder_state, files[0])
    decoder = _build(build_decoder, decoder_state, files[-1])
    found = LatentSpec("continuous", scale_of(encoder), _channels(encoder))
    expected = LatentSpec(**known["latent"])
    if found != expected or scale_of(decoder) != expected.f:
        raise WeightsError(
            f"{files[0]} has latents f{found.f}c{found.channels}, expected "
            f"f{expected.f}c{expected.channels} for {name}. Load it under the name of its model"
        )
    return from_functions(
        _caller(encoder),
        _caller(decoder),
        found,
        networks={"encoder": encoder, "decoder": decoder},
        weights=files,
        info={"scaling_factor": 1.0, "shift_factor": 0.0},  # the latents are normalised already
    )


def _find(path: Path) -> tuple[Path, ...]:
    """Find one file with both networks, or the encoder's and the decoder's by their names."""
    if path.is_file():
        return (path,)
    found = []
    for role in ("encoder", "decoder"):
        files = sorted(file for file in path.glob(f"*{role}*") if file.suffix in SUFFIXES)
        if len(files) != 1:
            raise WeightsError(
                f"{path} has {len(files)} files named *{role}*.pth or .safetensors. Pass a folder "
                "with one for each role, or one safetensors file"
            )
        found += files
    return tuple(found)


def _fetch(name: str, published: Mapping[str, str]) -> tuple[Path, ...]:
    if "hub" not in published:
        raise WeightsError(
            f"{name}: no repository of its weights is known. Pass their folder as path=DIR"
        )
    return (fetch(published["hub"], [published["file"]]) / published["file"],)


def _read(files: tuple[Path, ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    if len(files) == 2:
        return load_tensors(files[0]), load_tensors(files[1])
    states: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for key, tensor in load_tensors(files[0]).items():
        match = JOINT.fullmatch(key)
        if match is None:
            raise WeightsError(
                f"{files[0]}: tensor '{key}' is of no tiny autoencoder. Pass another file"
            )
        role, index, rest = match.groups()
        states[role][f"{int(index) + (role == 'decoder')}.{rest}"] = tensor
    return states["encoder"], states["decoder"]


def _build(
    build: Callable[[dict[str, Tensor]], nn.Sequential], state: dict[str, Tensor], file: Path
) -> nn.Sequential:
    try:
        network = build(state)
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{file} is no tiny autoencoder: {error} does not fit. Pass another file"
        ) from error
    load_strict(network, state, file)
    # On a CPU the convolutions run faster on channels-last tensors.
    return network.eval().to(memory_format=torch.channels_last)


def _channels(encoder: nn.Sequential) -> int:
    last = encoder[-1]
    return last.out_channels if isinstance(last, nn.Conv2d) else 0


def _caller(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that runs a network in its own dtype and gives float32."""

    def call(x: Tensor) -> Tensor:
        out: Tensor = network(x.to(next(network.parameters()).dtype))
        return out.float()

    return call
