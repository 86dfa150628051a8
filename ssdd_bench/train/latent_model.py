"""A network of latents together with what its samples need: statistics, encoder and classes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.data.latents import PixelStatistics, Statistics
from ssdd_bench.errors import OptionError, UserError, WeightsError
from ssdd_bench.nn.dit import DiT, DiTConfig, load_dit
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.weights.files import load_safetensors, load_strict, sha256_file

SCHEMA_VERSION = 1
SHIPPED = Path(__file__).parents[1] / "generation" / "weights"
ENCODERS = {4: 8}  # latent channels and f of the SD-VAE, under every published DiT and SiT


@dataclass(frozen=True)
class DiTCard:
    """What lies beside a trained network, in JSON.

    Attributes:
        config: shape of the network.
        objective: what it predicts.
        statistics: of the latents it was trained on.
        pixels: colours of the images behind them; None where unknown.
        tokenizer: label of the tokenizer that made the latents.
        encoder_sha256: of its encoder; empty where unknown.
        f: image pixels per latent cell along one side.
        classes: names, in the order of the labels.
        training: recipe, iterations, seconds, data, command and versions, for people.
    """

    config: DiTConfig
    objective: Literal["flow", "ddpm"]
    statistics: Statistics
    pixels: PixelStatistics | None
    tokenizer: str
    encoder_sha256: str
    f: int
    classes: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.config.side * self.f


@dataclass(frozen=True)
class Generator:
    """A network ready to draw from.

    Attributes:
        network: in evaluation mode.
        card: see :class:`DiTCard`.
        weights: file name and SHA-256.
    """

    network: DiT
    card: DiTCard
    weights: dict[str, str]


def save_dit(path: Path, weights: dict[str, Tensor], card: DiTCard) -> None:
    """Write float16 weights and the card beside them."""
    half = {name: value.to(torch.float16).contiguous() for name, value in weights.items()}
    half.pop("pos_embed", None)  # a fixed table, which every network makes for itself
    write_atomically(path, lambda target: save_file(half, target, metadata={"format": "pt"}))
    text = json.dumps(asdict(card), indent=2, sort_keys=True) + "\n"
    write_atomically(path.with_suffix(".json"), lambda target: target.write_text(text, "utf-8"))


def load_generator(
    path: Path, objective: Literal["flow", "ddpm"] | None = None, f: int | None = None
) -> Generator:
    """Load a network trained here, or a published DiT or SiT.

    Args:
        path: ``dit.safetensors`` with its card, or its folder, or a published checkpoint, which
            has none.
        objective: of a published one: ``ddpm`` for DiT, ``flow`` for SiT.
        f: of the tokenizer under a published one; 8 for the SD-VAE.

    Returns:
        Without a card the statistics are those of latents that the tokenizer scales itself: mean
        0, standard deviation 1.

    Raises:
        WeightsError: the file is missing, damaged or no DiT.
        OptionError: a published checkpoint without ``objective``.
        UserError: the card is damaged, or has no statistics.
    """
    if path.is_dir():
        path /= "dit.safetensors"
    weights = {path.name: sha256_file(path)}
    card_path = path.with_suffix(".json")
    if path.suffix == ".safetensors" and card_path.is_file():
        card = read_card(card_path)
        network = DiT(card.config)
        state = load_safetensors(path)
        load_strict(network, {**state, "pos_embed": network.pos_embed}, path)
        return Generator(network.eval(), card, weights)
    network = load_dit(path)
    if objective is None:
        raise OptionError(
            f"{path} has no card that says what it predicts: give --objective ddpm for DiT or "
            "flow for SiT"
        )
    channels = network.config.channels
    f = f or ENCODERS.get(channels)
    if f is None:
        raise OptionError(f"{path}: latents of {channels} channels: give --f")
    card = DiTCard(
        config=network.config,
        objective=objective,
        statistics=Statistics((0.0,) * channels, (1.0,) * channels),
        pixels=None,
        tokenizer="",
        encoder_sha256="",
        f=f,
        classes=tuple(str(label) for label in range(network.config.classes)),
    )
    return Generator(network, card, weights)


def read_card(path: Path) -> DiTCard:
    """Read a card.

    Raises:
        UserError: it is damaged, or has no statistics.
    """
    data = read_json(path)
    if isinstance(data, dict) and not data.get("statistics"):
        raise UserError(
            f"{path}: no statistics of the latents, without which samples cannot be mapped back: "
            "train again, or restore the card"
        )
    card = read_record(DiTCard, data, str(path))
    channels = card.config.channels
    if not len(card.statistics.mean) == len(card.statistics.std) == channels:
        raise UserError(
            f"{path}: statistics of {len(card.statistics.mean)} channels for latents of {channels}"
        )
    if len(card.classes) != card.config.classes:
        raise UserError(
            f"{path}: {len(card.classes)} class names for a network of {card.config.classes} "
            "classes"
        )
    return card


def shipped_for(encoder_sha256: str) -> Path:
    """The network that comes with the package for the latents of an encoder.

    Raises:
        WeightsError: there is none.
    """
    for path in sorted(SHIPPED.glob("*.json")):
        if read_card(path).encoder_sha256 == encoder_sha256:
            return path.with_suffix(".safetensors")
    raise WeightsError(
        "no network of latents comes with the package for this encoder: train one with "
        "`ssdd-bench gen encode` and `ssdd-bench gen train`, and give --dit FILE"
    )
