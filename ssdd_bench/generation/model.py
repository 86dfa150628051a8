"""Network of latents together with the facts that its samples need."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssdd_bench.data.statistics import ChannelStats
from ssdd_bench.errors import OptionError, UserError, WeightsError, counted
from ssdd_bench.generation.sampler import Objective
from ssdd_bench.nn.dit import DiT, DiTConfig, load_dit
from ssdd_bench.results.records import read_record
from ssdd_bench.train.files import Card, LatentFacts, card_path, read_card
from ssdd_bench.weights.files import existing_file, load_safetensors, load_strict, sha256_file

SHIPPED = Path(__file__).parent / "weights"
NOT_REPEATED = {"config", "latents", "scores", "schema_version"}  # of a card, by a result


@dataclass(frozen=True)
class LatentModel:
    """Network of latents that is ready to sample from."""

    network: DiT  # in evaluation mode
    facts: LatentFacts  # statistics, classes and encoder of its latents
    weights: dict[str, str]  # file name and SHA-256
    training: dict[str, Any]  # facts of its training, for people; empty where unknown

    @property
    def config(self) -> DiTConfig:
        """Shape of the network."""
        return self.network.config

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.config.side * self.facts.f


def find_network(path: Path) -> Path:
    """Return the weights file of a network of latents, which may be named by its folder.

    Raises:
        WeightsError: it is missing.
    """
    return existing_file(path / "last.safetensors" if path.is_dir() else path)


def load_latent_model(path: Path, f: int, objective: Objective | None = None) -> LatentModel:
    """Load a network trained here, or a published DiT or SiT.

    Without a card the statistics are those of latents that the tokenizer scales itself: mean 0,
    standard deviation 1.

    Args:
        path: weights file with its card, or the folder of a training, or a published checkpoint,
            which has no card.
        f: of the tokenizer that decodes its samples, which a published one does not tell.
        objective: of a published one: ``ddpm`` for DiT, ``flow`` for SiT.

    Raises:
        UserError: the file or its card is missing or damaged, or an argument is missing.
    """
    path = find_network(path)
    weights = {path.name: sha256_file(path)}
    if path.suffix == ".safetensors" and card_path(path).is_file():
        card = read_card(path)
        config, facts = _latents_of(card, path)
        network = DiT(config)
        load_strict(network, {**load_safetensors(path), "pos_embed": network.pos_embed}, path)
        told = {name: value for name, value in asdict(card).items() if name not in NOT_REPEATED}
        return LatentModel(network.eval(), facts, weights, told)
    network = load_dit(path)
    if objective is None:
        raise OptionError(
            f"{path} has no card with its objective: give --objective ddpm for DiT or flow for SiT"
        )
    channels = network.config.channels
    facts = LatentFacts(
        objective=objective,
        statistics=ChannelStats((0.0,) * channels, (1.0,) * channels),
        pixels=None,
        tokenizer="",
        encoder_sha256="",
        f=f,
        classes=tuple(str(label) for label in range(network.config.classes)),
    )
    return LatentModel(network, facts, weights, training={})


def shipped_for(encoder_sha256: str) -> Path:
    """Find the network that comes with the package for the latents of an encoder.

    Raises:
        WeightsError: there is none.
    """
    for path in sorted(SHIPPED.glob("*.safetensors")):
        facts = read_card(path).latents
        if facts is not None and facts.encoder_sha256 == encoder_sha256:
            return path
    raise WeightsError(
        "no network of latents comes with the package for this encoder: train one with "
        "`ssdd-bench gen encode` and `ssdd-bench gen train`, and give --dit FILE"
    )


def _latents_of(card: Card, path: Path) -> tuple[DiTConfig, LatentFacts]:
    """Read the shape of the network and the facts of its latents, which must agree."""
    name, facts = str(card_path(path)), card.latents
    if facts is None:
        raise UserError(f"{name}: 'latents' is null, so this is no network of latents: give a DiT")
    config = read_record(DiTConfig, card.config, name, "config")
    statistics = facts.statistics
    found = (len(statistics.mean), len(statistics.std), len(facts.classes))
    if found != (config.channels, config.channels, config.classes):
        raise UserError(
            f"{name}: means, deviations and class names number {found}, the network has "
            f"{counted(config.channels, 'channel')} and {counted(config.classes, 'class', 'es')}: "
            "restore the card, or train again"
        )
    return config, facts
