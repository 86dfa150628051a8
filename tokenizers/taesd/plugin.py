"""Adapter: a tiny encoder and decoder, in the original layout or in that of diffusers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from torch import Tensor, nn

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.functions import from_functions
from ssdd_bench.weights.files import load_strict, load_tensors
from ssdd_bench.weights.hub import fetch

from .network import build_network, scale_of

ROLES = ("encoder", "decoder")
SUFFIXES = (".pth", ".safetensors")
# diffusers numbers the decoder's layers from the one after the clamp.
JOINT = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")


def load(path: str, model: str) -> Tokenizer:
    """Load one of the family; ``model`` is one of the manifest's, or empty for TAESD itself.

    Raises:
        WeightsError: a file is missing, out of reach or damaged, or not of this model.
    """
    manifest = tomllib.loads((Path(__file__).parent / "tokenizer.toml").read_text("utf-8"))
    known = manifest["models"][model] if model else manifest
    name, published = model or manifest["id"], known["published"]
    if path:
        files = _find(Path(path))
    elif "hub" in published:
        files = published["files"]
        folder = fetch(published["hub"], files)
        files = [folder / file for file in files]
    else:
        raise WeightsError(
            f"{name}: no repository of its weights is known. Pass their folder as path=DIR"
        )
    encoder, decoder = _build(files)
    last = encoder[-1]
    channels = last.out_channels if isinstance(last, nn.Conv2d) else 0
    found = LatentSpec("continuous", scale_of(encoder), channels)
    expected = LatentSpec(**known["latent"])
    if found != expected or scale_of(decoder) != expected.f:
        raise WeightsError(
            f"{files[0]} has latents f{found.f}c{found.channels}, expected "
            f"f{expected.f}c{expected.channels} for {name}. Load it under the name of its model"
        )
    return from_functions(
        encoder,
        decoder,
        found,
        networks={"encoder": encoder, "decoder": decoder},
        weights=files,
        info={"scaling_factor": 1.0, "shift_factor": 0.0},  # the latents are normalised already
    )


def _find(path: Path) -> list[Path]:
    """Find one file with both networks, or the encoder's and the decoder's by their names."""
    if path.is_file():
        return [path]
    found = []
    for role in ROLES:
        files = sorted(file for file in path.glob(f"*{role}*") if file.suffix in SUFFIXES)
        if len(files) != 1:
            raise WeightsError(
                f"{path} has {len(files)} files named *{role}*.pth or .safetensors. Pass a folder "
                "with one for each role, or one safetensors file"
            )
        found += files
    return found


def _build(files: list[Path]) -> list[nn.Sequential]:
    """Build and load the encoder and the decoder."""
    states = _split(files[0]) if len(files) == 1 else [load_tensors(file) for file in files]
    made = []
    for role, state, file in zip(ROLES, states, (files[0], files[-1]), strict=True):
        try:
            network = build_network(state, role)
        except (KeyError, ValueError, IndexError) as error:
            raise WeightsError(
                f"{file} is no tiny autoencoder: {error} does not fit. Pass another file"
            ) from error
        load_strict(network, state, file)
        made.append(network)
    return made


def _split(file: Path) -> list[dict[str, Tensor]]:
    """Separate the networks in a file of diffusers, and number their layers as the originals."""
    states: dict[str, dict[str, Tensor]] = {role: {} for role in ROLES}
    for key, tensor in load_tensors(file).items():
        match = JOINT.fullmatch(key)
        if match is None:
            raise WeightsError(f"{file}: tensor '{key}' is of no tiny autoencoder. Pass another")
        role, index, rest = match.groups()
        states[role][f"{int(index) + (role == 'decoder')}.{rest}"] = tensor
    return list(states.values())
