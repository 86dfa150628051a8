"""Recipes: every number of a training run, read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results import read_record

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class DataRecipe:
    """Random crops: the shorter side is resized at random, then a square is cut out.

    Attributes:
        resolution: side of a crop in pixels.
        min_side: smallest length that the shorter side is resized to, in pixels.
        max_side: largest one, exclusive; ``min_side + 1`` gives a fixed scale.
        holdout: fraction of the photographs never trained on, chosen by the hash of their id.
    """

    resolution: int
    min_side: int
    max_side: int
    holdout: float


@dataclass(frozen=True)
class OptimiserRecipe:
    """RAdamScheduleFree with a constant learning rate, and the average that is kept.

    Attributes:
        batch_size: images per iteration.
        beta2: memory of the squared gradient; 0.999 in the paper, less for short runs.
        weight_decay: on weights of layers and norms, none on biases and position tables.
        clip: largest norm of the gradient.
        ema_decay: see :class:`ssdd_bench.nn.ema.EMA`.
        ema_start: iterations before averaging begins.
        bf16: compute in bfloat16, with float32 weights.
        seed: of crops, noise and initial weights.
    """

    batch_size: int
    beta2: float
    weight_decay: float
    clip: float
    ema_decay: float
    ema_start: int
    bf16: bool
    seed: int


@dataclass(frozen=True)
class KLVAERecipe:
    """The KL-VAE: ``network`` holds the arguments of diffusers' ``AutoencoderKL``."""

    iterations: int
    lr: float
    kl_weight: float
    perceptual_weight: float
    network: dict[str, Any]


@dataclass(frozen=True)
class DiffusionRecipe:
    """The encoder and the multi-step diffusion decoder, trained together.

    Attributes:
        iterations: length of the training.
        lr: learning rate.
        size: name in :data:`ssdd_bench.nn.decoder.SIZES`.
        f: image pixels per latent cell along one side.
        z_dim: channels of the latent.
        encoder_base: width of the encoder's finest level.
        time_mean: of the logit of the training times; 0 in the paper.
        time_std: its standard deviation; 1 in the paper.
        perceptual_weight: of the perceptual distance of the one-step estimate.
        kl_weight: of the posterior's divergence, summed over a latent.
    """

    iterations: int
    lr: float
    size: str
    f: int
    z_dim: int
    encoder_base: int
    time_mean: float
    time_std: float
    perceptual_weight: float
    kl_weight: float


@dataclass(frozen=True)
class DistillationRecipe:
    """The single-step student of the diffusion decoder.

    Attributes:
        iterations: length of the training.
        lr: learning rate.
        teacher_steps: Euler steps of the teacher.
        perceptual_weight: as in :class:`DiffusionRecipe`.
    """

    iterations: int
    lr: float
    teacher_steps: int
    perceptual_weight: float


@dataclass(frozen=True)
class Recipe:
    """One TOML file: data and optimiser shared by the stages, and a table for each stage."""

    name: str
    data: DataRecipe
    optimiser: OptimiserRecipe
    klvae: KLVAERecipe
    diffusion: DiffusionRecipe
    ssdd: DistillationRecipe

    def to_json(self, stage: Literal["klvae", "diffusion", "ssdd"]) -> dict[str, Any]:
        """What decides the training of one stage."""
        whole = asdict(self)
        return {key: whole[key] for key in ("name", "data", "optimiser", stage)}


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name, or from a path that ends in ``.toml``.

    Raises:
        UnknownNameError: no such recipe.
        UserError: the file is missing, not TOML, or has an unknown or missing key or one of the
            wrong type.
    """
    known = {path.stem: path for path in RECIPES.glob("*.toml")}
    path = Path(name_or_path) if name_or_path.endswith(".toml") else known.get(name_or_path)
    if path is None:
        raise UnknownNameError("recipe", name_or_path, known)
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"recipe {path}: {error.strerror or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"recipe {path}: {error}") from error
    stages: dict[str, type[Any]] = {
        "data": DataRecipe,
        "optimiser": OptimiserRecipe,
        "klvae": KLVAERecipe,
        "diffusion": DiffusionRecipe,
        "ssdd": DistillationRecipe,
    }
    if unknown := sorted(set(tables) - set(stages)):
        raise UserError(f"recipe {path}: unknown table [{unknown[0]}]")
    built: dict[str, Any] = {
        key: read_record(cls, tables.get(key), f"recipe {path}", key) for key, cls in stages.items()
    }
    return Recipe(name=path.stem, **built)
