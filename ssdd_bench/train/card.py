"""Model card: the JSON file beside trained weights, with all that is known of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ssdd_bench.data.statistics import ChannelStats
from ssdd_bench.results.files import write_json
from ssdd_bench.results.records import read_json, read_record

SCHEMA_VERSION = 2
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class StageCost:
    """Length of an earlier stage of the same training.

    Attributes:
        stage: its name.
        iterations: updates of the weights.
        images_seen: crops or latents, repetitions included.
        seconds: of training.
        threads: of the CPU.
    """

    stage: str
    iterations: int
    images_seen: int
    seconds: int
    threads: int


@dataclass(frozen=True)
class TrainingData:
    """Images of a training.

    Attributes:
        name: of the folder or file.
        images: their number.
        trained_on: those that were not held out for the scores.
    """

    name: str
    images: int
    trained_on: int


@dataclass(frozen=True)
class Scores:
    """Scores on images that were not trained on.

    Attributes:
        metrics: values by metric key.
        images: the images, in words.
        n: number of images.
        resolution: of the images, in pixels.
        protocol: id of the protocol.
        steps: of the decoder; None for one without steps.
        seed: of the decoder's noise.
        command: that measured them; empty for the trainer's own evaluation.
    """

    metrics: dict[str, float]
    images: str
    n: int
    resolution: int
    protocol: str
    steps: int | None
    seed: int
    command: str = ""


@dataclass(frozen=True)
class LatentFacts:
    """Facts about latents without which a network of latents is of no use.

    Attributes:
        objective: prediction of the network: the velocity of a flow, or DDPM's noise.
        statistics: of the latents that it was trained on.
        pixels: of the images behind them, colours in [0, 1]; None where unknown.
        tokenizer: label of the tokenizer that made the latents; empty where unknown.
        encoder_sha256: hash of its encoder; empty where unknown.
        f: image pixels per latent cell along one side.
        classes: names, in the order of the labels.
    """

    objective: Literal["flow", "ddpm"]
    statistics: ChannelStats
    pixels: ChannelStats | None
    tokenizer: str
    encoder_sha256: str
    f: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Facts about a run that stand in all its cards.

    Attributes:
        data: images.
        command: as typed by the user.
        recipe_name: name or path of the recipe.
        start: weights file that the stage began with; None for new networks.
        before: earlier stages of the same training.
    """

    data: TrainingData
    command: str = ""
    recipe_name: str = ""
    start: str | None = None
    before: tuple[StageCost, ...] = ()


@dataclass(frozen=True)
class Card:
    """Everything that is known of a weights file.

    Attributes:
        stage: of the training.
        origin: data, command and earlier stages.
        config: arguments of the network; empty where its shape follows from the tensors.
        parameters: number of trained ones.
        recipe: every setting that decided the training.
        iterations: updates of the weights.
        images_seen: crops or latents, repetitions included.
        seconds: of training, over every resumption.
        processes: that trained together.
        threads: of the CPU, per process.
        device: type of device.
        scores: None where nothing was measured.
        latents: None for weights of a tokenizer.
        created: ISO 8601, UTC.
        version: of this package.
        torch: version of PyTorch.
        licence: of the weights.
    """

    stage: str
    origin: Origin
    config: dict[str, Any]
    parameters: int
    recipe: dict[str, Any]
    iterations: int
    images_seen: int
    seconds: int
    processes: int
    threads: int
    device: str
    scores: Scores | None
    latents: LatentFacts | None
    created: str
    version: str
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
    """Read the card beside a weights file.

    Raises:
        UserError: it is missing or damaged.
    """
    path = card_path(weights)
    return read_record(Card, read_json(path), str(path))
