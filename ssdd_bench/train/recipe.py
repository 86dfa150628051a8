"""Recipes: every number of a training, read from a TOML file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.records import read_record, read_toml

RECIPES = Path(__file__).parent / "recipes"

SSDD_STAGES = ("encoder", "pretrain", "finetune", "distil")
STAGES = ("klvae", *SSDD_STAGES)


@dataclass(frozen=True)
class ModelRecipe:
    """The networks.

    Attributes:
        f: image pixels per latent cell along one side.
        z_dim: channels of the latent.
        encoder_base: width of the encoder's finest level; 128 in the paper.
        size: of the decoder, a name in :data:`ssdd_bench.nn.decoder.SIZES`.
        encoder_stage_size: of the decoder that the encoder is trained with.
        klvae: arguments of diffusers' ``AutoencoderKL``.
    """

    f: int
    z_dim: int
    encoder_base: int
    size: str
    encoder_stage_size: str
    klvae: dict[str, Any]


@dataclass(frozen=True)
class LossRecipe:
    """Terms and their weights; 0 leaves a term out and loads nothing for it.

    Attributes:
        perceptual: a name in :data:`ssdd_bench.train.losses.perceptual.DISTANCES`.
        perceptual_weight: of the distance between the target and the one-step estimate.
        repa: a name in :data:`ssdd_bench.train.losses.repa.TARGETS`.
        repa_weight: of the alignment of the decoder's tokens with that network's.
        kl_weight: of the posterior's divergence, summed over a latent.
        gan_weight: of the adversarial term of SSDD's stages; off in the paper's main result.
        gan_start: iterations before that term begins.
    """

    perceptual: Literal["lpips-vgg", "effnet-lite1"]
    perceptual_weight: float
    repa: Literal["dinov2-b", "effnet-lite1"]
    repa_weight: float
    kl_weight: float
    gan_weight: float
    gan_start: int


@dataclass(frozen=True)
class OptimiserRecipe:
    """RAdamScheduleFree at a constant learning rate, and the average that is kept.

    Attributes:
        beta2: memory of the squared gradient.
        weight_decay: on weights of layers; none on biases and tables of positions.
        decay_norms: on weights of norms too, as the paper's code does.
        clip: largest norm of the gradient, of the tokenizer and of the REPA head apart.
        ema_decay: see :class:`ssdd_bench.nn.ema.EMA`.
        ema_start: iterations before averaging begins.
        bf16: compute in bfloat16, with float32 weights.
        compile: the networks, on a GPU.
        seed: of crops, noise and initial weights.
    """

    beta2: float
    weight_decay: float
    decay_norms: bool
    clip: float
    ema_decay: float
    ema_start: int
    bf16: bool
    compile: bool
    seed: int


@dataclass(frozen=True)
class EvaluationRecipe:
    """Scores during training, by the harness, on photographs that are never trained on.

    Attributes:
        holdout: fraction of the images that is kept for it, chosen by the hash of their id.
        images: how many of them are scored, at most.
        resolution: in pixels.
        protocol: a name of ``ssdd-bench list protocols``.
        metrics: keys; the checkpoint with the best value of the first one is kept.
        steps: of the decoder before distillation, whose student takes one.
    """

    holdout: float
    images: int
    resolution: int
    protocol: str
    metrics: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class StageRecipe:
    """Length and data of one stage.

    Attributes:
        iterations: updates of the weights; 0 leaves the stage out.
        lr: learning rate.
        batch_size: images per update, over all processes.
        accumulate: parts that a batch is computed in, one after the other.
        resolution: side of a crop in pixels.
        min_side: smallest length that an image's shorter side is resized to.
        max_side: largest one, exclusive; ``min_side + 1`` gives a fixed scale.
        evaluate_every: iterations between two evaluations; 0 for one at the end.
    """

    iterations: int
    lr: float
    batch_size: int
    accumulate: int
    resolution: int
    min_side: int
    max_side: int
    evaluate_every: int


@dataclass(frozen=True)
class KLVAERecipe(StageRecipe):
    """The KL-VAE with its adversarial loss.

    Attributes:
        gan_weight: of the adversarial term, after its adaptive weight; 0 for none.
        gan_start: iterations before it begins.
        discriminator_width: channels of the first layer of the discriminator.
    """

    gan_weight: float
    gan_start: int
    discriminator_width: int


@dataclass(frozen=True)
class FlowRecipe(StageRecipe):
    """Stages 0 to 2, by flow matching.

    Attributes:
        time_mean: of the logit of the training times; 0 in the paper.
        time_std: its standard deviation; 1 in the paper.
    """

    time_mean: float
    time_std: float


@dataclass(frozen=True)
class PretrainRecipe(FlowRecipe):
    """Stage 1, with the encoder of stage 0.

    Attributes:
        new_decoder: start from a new one, as in the paper, or from that of stage 0.
    """

    new_decoder: bool


@dataclass(frozen=True)
class DistilRecipe(StageRecipe):
    """Stage 3.

    Attributes:
        teacher_steps: Euler steps of the teacher.
        teacher_power: exponent of its time grid.
    """

    teacher_steps: int
    teacher_power: float


@dataclass(frozen=True)
class Recipe:
    """One TOML file: what the stages share, and a table for each stage."""

    model: ModelRecipe
    loss: LossRecipe
    optimiser: OptimiserRecipe
    evaluation: EvaluationRecipe
    klvae: KLVAERecipe
    encoder: FlowRecipe
    pretrain: PretrainRecipe
    finetune: FlowRecipe
    distil: DistilRecipe

    def stage(self, name: str) -> StageRecipe:
        """The table of one of :data:`STAGES`."""
        table: StageRecipe = getattr(self, name)
        return table

    def decides(self, stage: str) -> dict[str, Any]:
        """What decides the training of one stage; a change of it does not resume."""
        whole = asdict(self)
        return {key: whole[key] for key in ("model", "loss", "optimiser", stage)}


def recipe_names() -> tuple[str, ...]:
    """Names that :func:`load_recipe` takes; files that others build on start with ``_``."""
    return tuple(sorted(p.stem for p in RECIPES.glob("*.toml") if not p.name.startswith("_")))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name, or from a path that ends in ``.toml``.

    A file may name another one beside it as ``base`` and then holds only what differs.

    Raises:
        UnknownNameError: no such recipe.
        UserError: the file is missing, not TOML, or has an unknown or missing key or one of the
            wrong type.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    elif name_or_path in recipe_names():
        path = RECIPES / f"{name_or_path}.toml"
    else:
        raise UnknownNameError("recipe", name_or_path, recipe_names())
    return read_record(Recipe, read_tables(path), f"recipe {path}")


def read_tables(path: Path) -> dict[str, Any]:
    """Read a recipe's file, and below it the one that it names as ``base``.

    Raises:
        UserError: a file is missing or not TOML, or ``base`` is no name.
    """
    tables = read_toml(path, "recipe")
    base = tables.pop("base", None)
    if base is None:
        return tables
    if not isinstance(base, str) or Path(base).name != base:
        raise UserError(f"recipe {path}: base is the name of a file beside it, not {base!r}")
    return _merged(read_tables(path.parent / f"{base}.toml"), tables)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged
