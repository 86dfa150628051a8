"""Recipes: every number of a training, read from a TOML file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.records import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Rule,
    read_record,
    read_toml,
)

RECIPES = Path(__file__).parent / "recipes"
SHARE: Final = Rule("0 or more and below 1", lambda value: 0 <= value < 1)

SSDD_STAGES = ("encoder", "pretrain", "finetune", "distil")
LATER_STAGES = SSDD_STAGES[1:]  # which start from the weights of an earlier one
STAGES = ("klvae", *SSDD_STAGES)
DOWNSAMPLING = 8  # of the decoder; as in nn.decoder, which imports torch


@dataclass(frozen=True)
class ModelRecipe:
    """Networks of a tokenizer."""

    f: PositiveInt  # image pixels per latent cell along one side
    z_dim: PositiveInt  # channels of the latent
    encoder_base: PositiveInt  # width of the encoder at its finest resolution; 128 in the paper
    size: str  # of the decoder, a name in ssdd_bench.nn.decoder.SIZES
    encoder_stage_size: str  # of the decoder that the encoder is trained with
    klvae: dict[str, Any]  # arguments of diffusers' AutoencoderKL


@dataclass(frozen=True)
class LossRecipe:
    """Terms of a tokenizer's loss; a weight of 0 leaves a term of SSDD's loss out."""

    perceptual: Literal["lpips-vgg", "effnet-lite1"]  # see losses.perceptual.DISTANCES
    perceptual_weight: NonNegativeFloat  # of the distance between target and one-step prediction
    repa: Literal["dinov2-b", "effnet-lite1"]  # see losses.repa.TARGETS
    repa_weight: NonNegativeFloat  # of the alignment of the decoder's tokens with that network's


@dataclass(frozen=True)
class DataRecipe:
    """Source of the crops.

    With ``decoded``, all photos are decoded once and kept as uint8, on a GPU where they fit; crops
    are at the same places, resized by the same filter with other roundings.
    """

    photos: Literal["files", "decoded"]


@dataclass(frozen=True)
class OptimiserRecipe:
    """Settings of every optimiser, and of the average of the weights."""

    weight_decay: NonNegativeFloat
    clip: PositiveFloat  # largest norm of the gradient; auxiliary modules have their own
    ema_decay: Annotated[float, SHARE]
    ema_start: NonNegativeInt  # iterations before averaging begins
    bf16: bool  # compute in bfloat16 where the device has it, with float32 weights
    compile: bool  # compile every network that a stage calls, on a GPU
    seed: int  # of initial weights, the order of the data, crops and noise

    def lr_factor(self, iteration: int) -> float:
        """Return the share of the learning rate at an iteration, counted from 0."""
        return 1.0


@dataclass(frozen=True)
class ScheduleFreeRecipe(OptimiserRecipe):
    """RAdamScheduleFree at a constant learning rate; weights of layers decay."""

    beta2: Annotated[float, SHARE]  # memory of the squared gradient
    decay_norms: bool  # weights of norms decay too, as in the paper's code


@dataclass(frozen=True)
class AdamWRecipe(OptimiserRecipe):
    """AdamW at a constant learning rate, as the DiT and SiT papers train; all weights decay."""

    warmup: NonNegativeInt  # iterations over which the learning rate grows from 0

    def lr_factor(self, iteration: int) -> float:
        """Grow linearly to 1."""
        return min(1.0, (iteration + 1) / max(self.warmup, 1))


@dataclass(frozen=True)
class EvaluationRecipe:
    """Scores during training, on images that are never trained on."""

    holdout: Annotated[float, SHARE]  # share of the images, chosen by the hash of their id
    images: NonNegativeInt  # how many of them are scored, at most; 0 for no scores
    resolution: NonNegativeInt  # in pixels; 0 for the stage's own
    protocol: str
    metrics: tuple[str, ...]  # the checkpoint with the best value of the first one is kept
    steps: PositiveInt  # of the decoder before distillation, whose student takes one

    @property
    def is_scored(self) -> bool:
        """True if training measures scores; the latest weights count as the best otherwise."""
        return bool(self.images and self.holdout)


@dataclass(frozen=True)
class StageRecipe:
    """Length of a stage.

    The number of processes and ``accumulate`` change the weights by rounding only, but for the
    KL-VAE's adversarial loss, see :mod:`ssdd_bench.train.stages.klvae`.
    """

    iterations: NonNegativeInt  # updates of the weights; 0 leaves the stage out
    lr: PositiveFloat  # learning rate
    batch_size: PositiveInt  # images or latents per update, over all processes
    accumulate: PositiveInt  # shards that a process computes its batch in
    evaluate_every: NonNegativeInt  # iterations; 0 for one evaluation at the end


@dataclass(frozen=True)
class CropRecipe(StageRecipe):
    """Stage that is trained on crops of images."""

    resolution: PositiveInt  # side of a crop in pixels
    min_side: PositiveInt  # smallest length that an image's shorter side is resized to
    max_side: PositiveInt  # largest one, exclusive; min_side + 1 gives a fixed scale


@dataclass(frozen=True)
class KLVAERecipe(CropRecipe):
    """KL-VAE with its adversarial loss."""

    kl_weight: NonNegativeFloat  # of the KL, a sum over a latent, beside an L1 that is a mean
    gan_weight: NonNegativeFloat  # of the adversarial term, after its adaptive weight; 0 for none
    gan_start: NonNegativeInt  # iterations before it begins
    discriminator_width: PositiveInt  # channels of the discriminator's first layer


@dataclass(frozen=True)
class FlowRecipe(CropRecipe):
    """Stages 0 to 2 of SSDD, by flow matching."""

    time_mean: float  # of the logit of the training times; 0 in the paper
    time_std: PositiveFloat  # its standard deviation; 1 in the paper


@dataclass(frozen=True)
class EncoderRecipe(FlowRecipe):
    """Stage 0, which trains the encoder."""

    kl_weight: NonNegativeFloat  # of the KL, a sum over a latent, beside losses that are means


@dataclass(frozen=True)
class PretrainRecipe(FlowRecipe):
    """Stage 1, with the encoder of stage 0."""

    new_decoder: bool  # start from a new one, as in the paper, or from that of stage 0


@dataclass(frozen=True)
class DistilRecipe(CropRecipe):
    """Stage 3."""

    teacher_steps: PositiveInt  # Euler steps of the teacher
    teacher_power: PositiveFloat  # exponent of its timestep schedule


@dataclass(frozen=True)
class Recipe:
    """Recipe of tokenizers: settings that the stages share, and a table for each stage."""

    folder: ClassVar[Path] = RECIPES

    model: ModelRecipe
    data: DataRecipe
    loss: LossRecipe
    optimiser: ScheduleFreeRecipe
    evaluation: EvaluationRecipe
    klvae: KLVAERecipe
    encoder: EncoderRecipe
    pretrain: PretrainRecipe
    finetune: FlowRecipe
    distil: DistilRecipe

    def stage(self, name: str) -> CropRecipe:
        """Return the table of one of :data:`STAGES`."""
        table: CropRecipe = getattr(self, name)
        return table

    def settings(self, stage: str) -> dict[str, Any]:
        """Return every setting that decides the training of one stage."""
        whole = asdict(self)
        return {key: whole[key] for key in ("model", "data", "loss", "optimiser", stage)}


@dataclass(frozen=True)
class DiTStageRecipe(StageRecipe):
    """DiT on latents.

    The objective ``flow`` predicts the velocity of the straight path (SiT); ``ddpm`` the noise, at
    1,000 timesteps with linear betas (DiT) and fixed variances, which DiT learns too.
    """

    size: str  # name in ssdd_bench.nn.dit.SIZES
    patch: PositiveInt  # latent cells along one side of a token
    objective: Literal["flow", "ddpm"]
    label_dropout: Annotated[float, SHARE]  # share of labels replaced by none, for guidance
    times: Literal["uniform", "logit-normal"]  # of a flow; the latter as in arXiv 2403.03206


@dataclass(frozen=True)
class DiTRecipe:
    """Recipe of a network of latents."""

    folder: ClassVar[Path] = RECIPES / "dit"

    dit: DiTStageRecipe
    optimiser: AdamWRecipe


AnyRecipe = TypeVar("AnyRecipe", Recipe, DiTRecipe)


def recipe_names(kind: type[Recipe] | type[DiTRecipe] = Recipe) -> tuple[str, ...]:
    """List the names that :func:`load_recipe` takes for a kind of recipe."""
    return tuple(sorted(path.stem for path in kind.folder.glob("[!_]*.toml")))


def load_recipe(name_or_path: str, kind: type[AnyRecipe]) -> AnyRecipe:
    """Read a recipe by its name, or from a path that ends in ``.toml``.

    A file may name another one beside it as ``base`` and then holds only the differences.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    elif name_or_path in recipe_names(kind):
        path = kind.folder / f"{name_or_path}.toml"
    else:
        raise UnknownNameError("recipe", name_or_path, recipe_names(kind))
    recipe = read_record(kind, _read_tables(path), f"recipe {path}")
    if isinstance(recipe, Recipe) and (fault := next(_faults(recipe), "")):
        raise UserError(f"recipe {path}: key {fault}")
    return recipe


def _faults(recipe: Recipe) -> Iterator[str]:
    """Yield the keys whose values do not fit to others, each with what it must be."""
    sides = {f"{name}.resolution": recipe.stage(name).resolution for name in STAGES}
    for name in STAGES:
        stage = recipe.stage(name)
        if stage.min_side >= stage.max_side:
            what = f"must be above min_side, {stage.min_side}"
            yield f"'{name}.max_side' {what}, not {stage.max_side}"
        if stage.resolution > stage.min_side:
            what = f"must be at most min_side, {stage.min_side}"
            yield f"'{name}.resolution' {what}, not {stage.resolution}"
    if recipe.evaluation.is_scored:
        sides["evaluation.resolution"] = recipe.evaluation.resolution
        if not recipe.evaluation.metrics:
            yield "'evaluation.metrics' must name a metric, or set images = 0"
    unit = math.lcm(recipe.model.f, DOWNSAMPLING)
    for key, side in sides.items():
        if side % unit:
            yield f"'{key}' must be a multiple of {unit}, not {side}"


def _read_tables(path: Path, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a recipe's file, and the one that it names as ``base`` under it.

    Args:
        path: of the file.
        above: names of those that have it as their base.
    """
    tables = read_toml(path)
    base = tables.pop("base", None)
    if base is None:
        return tables
    if not isinstance(base, str) or Path(base).name != base:
        raise UserError(f"recipe {path}: base is {base!r}: give the name of a file beside it")
    below = (*above, path.stem)
    if base in below:
        chain = " -> ".join((*below, base))
        raise UserError(f"recipe {path}: base leads back to itself, {chain}: name another file")
    return _merge(_read_tables(path.parent / f"{base}.toml", below), tables)


def _merge(below: Any, above: Any) -> Any:
    """Put tables over others, key by key; other values replace what is below them."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _merge(below.get(key), value) for key, value in above.items()}
