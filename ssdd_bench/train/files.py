"""Files of a training: state to resume from, and weights with their model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.data.statistics import ChannelStats
from ssdd_bench.errors import WeightsError
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.weights.blocks import pack
from ssdd_bench.weights.files import load_safetensors

SCHEMA_VERSION = 3
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class StageCost:
    """Length of an earlier stage of the same training."""

    stage: str
    iterations: int  # updates of the weights
    images_seen: int  # crops or latents, repetitions included
    seconds: int
    threads: int  # of the CPU


@dataclass(frozen=True)
class TrainingData:
    """Images of a training."""

    name: str  # of the folder or file
    images: int
    trained_on: int  # those that were not held out for the scores


@dataclass(frozen=True)
class Scores:
    """Scores on images that were not trained on."""

    metrics: dict[str, float]
    images: str  # the images, in words
    n: int
    resolution: int
    protocol: str
    steps: int | None  # of the decoder; None for one without steps
    seed: int  # of the decoder's noise
    command: str = ""  # that measured them; empty for the trainer's own evaluation


@dataclass(frozen=True)
class LatentFacts:
    """Facts about latents without which a network of latents is of no use."""

    objective: Literal["flow", "ddpm"]
    statistics: ChannelStats  # of the latents that it was trained on
    pixels: ChannelStats | None  # of the images behind them, colours in [0, 1]
    tokenizer: str  # label of the tokenizer that made the latents; empty where unknown
    encoder_sha256: str  # see ssdd_bench.generation.identity; empty where unknown
    f: int
    classes: tuple[str, ...]  # names, in the order of the labels


@dataclass(frozen=True)
class Origin:
    """Facts about a run that stand in all its cards."""

    data: TrainingData
    command: str = ""  # as typed by the user
    recipe_name: str = ""  # name or path of the recipe
    start: str | None = None  # weights file that the stage began with
    before: tuple[StageCost, ...] = ()  # earlier stages of the same training


@dataclass(frozen=True)
class Card:
    """Everything that is known of a weights file."""

    stage: str
    origin: Origin
    config: dict[str, Any]  # arguments of the network; empty where its shape follows from tensors
    parameters: int  # number of trained ones
    recipe: dict[str, Any]  # every setting that decided the training
    iterations: int
    images_seen: int  # crops or latents, repetitions included
    seconds: int  # of training, over every resumption
    processes: int  # that trained together
    threads: int  # of the CPU, per process
    device: str  # type of device
    bf16: bool  # computed in bfloat16, which a recipe may allow and a CPU may lack
    scores: Scores | None
    latents: LatentFacts | None  # None for weights of a tokenizer
    created: str  # ISO 8601, UTC
    version: str  # of this package
    torch: str
    licence: str = LICENCE
    schema_version: int = SCHEMA_VERSION

    def cost(self) -> StageCost:
        """Summarise this stage for the cards of those that start from its weights."""
        return StageCost(self.stage, self.iterations, self.images_seen, self.seconds, self.threads)


def card_path(weights: Path) -> Path:
    """Return the path of the card that belongs to a weights file."""
    return weights.with_suffix(".json")


def save_card(weights: Path, card: Card) -> None:
    """Write a card beside its weights file."""
    write_json(card_path(weights), asdict(card))


def read_card(weights: Path) -> Card:
    """Read the card beside a weights file; ``UserError`` if it is missing or damaged."""
    path = card_path(weights)
    return read_record(Card, read_json(path), str(path))


def save_weights(path: Path, weights: Mapping[str, Tensor], card: Card | None = None) -> None:
    """Write tensors, and a card beside them."""
    ready = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, lambda target: save_file(ready, target, metadata={"format": "pt"}))
    if card is not None:
        save_card(path, card)


def to_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to float16, which halves the size of a file."""
    return {name: value.to(torch.float16) for name, value in weights.items()}


def pack_file(path: Path, prefix: str) -> None:
    """Rewrite a weights file in eight bits, as those that are shipped.

    Args:
        path: of the file.
        prefix: of the names of what is packed, such as ``decoder.``. Encoders stay as they are:
            latents, and the networks trained on them, belong to their exact weights.
    """
    save_weights(path, pack(load_safetensors(path), prefix))


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; a killed process leaves the previous file whole.

    Raises:
        OutputError: the folder cannot be written, such as on a full disk.
    """

    def write(target: Path) -> None:
        try:
            with target.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:  # torch hides the system's error
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise

    write_atomically(path, write)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state to the CPU: tensors and plain values only, no code is run."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise WeightsError(
            f"{path}: damaged or no training state ({error}): delete it to start again"
        ) from error
    return state
