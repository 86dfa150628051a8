"""Adapter: a tiny encoder and decoder, in the original layout or in that of diffusers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.files import load_strict, load_tensors
from ssdd_bench.weights.hub import fetch

from .network import build_decoder, build_encoder, scale_of

SUFFIXES = (".pth", ".safetensors")
# diffusers numbers the decoder's layers from the one after the clamp.
JOINT = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")


class TinyAutoencoder(Tokenizer):
    """A deterministic encoder and decoder; the latents are a diffusion model's normalised ones.

    Args:
        encoder: in evaluation mode.
        decoder: in evaluation mode.
        weights: the files that they were loaded from.
        channels: of the latents.
    """

    def __init__(
        self,
        encoder: nn.Sequential,
        decoder: nn.Sequential,
        weights: tuple[Path, ...],
        channels: int,
    ) -> None:
        # On a CPU the convolutions run faster on channels-last tensors.
        self._encoder = encoder.to(memory_format=torch.channels_last)
        self._decoder = decoder.to(memory_format=torch.channels_last)
        self.weights = weights
        self.latent = LatentSpec("continuous", scale_of(encoder), channels)

    @torch.no_grad()
    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Latents as they are; there is nothing to sample."""
        z: Tensor = self._encoder(images.to(_dtype(self._encoder)))
        return Latent(z.float(), (images.shape[-2], images.shape[-1]))

    @torch.no_grad()
    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """The decoder works on [0, 1] itself."""
        assert isinstance(latent.data, Tensor)
        decoded: Tensor = self._decoder(latent.data.to(_dtype(self._decoder)))
        return decoded.float()

    def networks(self) -> dict[str, nn.Module]:
        """Both chains of convolutions."""
        return {"encoder": self._encoder, "decoder": self._decoder}

    def info(self) -> dict[str, Any]:
        """The networks imitate latents that are normalised already."""
        return {"scaling_factor": 1.0, "shift_factor": 0.0}


def load(path: str, model: str) -> TinyAutoencoder:
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
    tokenizer = TinyAutoencoder(encoder, decoder, files, _channels(encoder))
    expected = LatentSpec(**known["latent"])
    if tokenizer.latent != expected or scale_of(decoder) != expected.f:
        made = tokenizer.latent
        raise WeightsError(
            f"{files[0]}: not {name}, whose latents are f{expected.f}c{expected.channels}: these "
            f"are f{made.f}c{made.channels}: give it to the model of its name"
        )
    return tokenizer


def _find(path: Path) -> tuple[Path, ...]:
    """One file with both networks, or the encoder's and the decoder's, by their names."""
    if path.is_file():
        return (path,)
    found = []
    for role in ("encoder", "decoder"):
        files = sorted(file for file in path.glob(f"*{role}*") if file.suffix in SUFFIXES)
        if len(files) != 1:
            raise WeightsError(
                f"{path}: {len(files)} files named *{role}*.pth or .safetensors: give a folder "
                "with one of each, or one safetensors file"
            )
        found += files
    return tuple(found)


def _fetch(name: str, published: Mapping[str, str]) -> tuple[Path, ...]:
    if "hub" not in published:
        raise WeightsError(
            f"{name}: its weights are on no known Hub: give their folder as path=DIR"
        )
    return (fetch(published["hub"], [published["file"]]) / published["file"],)


def _read(files: tuple[Path, ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    if len(files) == 2:
        return load_tensors(files[0]), load_tensors(files[1])
    states: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for key, tensor in load_tensors(files[0]).items():
        match = JOINT.fullmatch(key)
        if match is None:
            raise WeightsError(f"{files[0]}: tensor '{key}' is of no tiny autoencoder")
        role, index, rest = match.groups()
        states[role][f"{int(index) + (role == 'decoder')}.{rest}"] = tensor
    return states["encoder"], states["decoder"]


def _build(
    build: Callable[[dict[str, Tensor]], nn.Sequential], state: dict[str, Tensor], file: Path
) -> nn.Sequential:
    try:
        network = build(state)
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"{file}: not a tiny autoencoder: {error} does not fit") from error
    load_strict(network, state, file)
    return network.eval()


def _channels(encoder: nn.Sequential) -> int:
    last = encoder[-1]
    return last.out_channels if isinstance(last, nn.Conv2d) else 0


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
