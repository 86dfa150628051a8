"""Recipes: every number of a training, read from a TOML file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.records import NOT_NEGATIVE, POSITIVE, Rule, read_record, read_toml

RECIPES = Path(__file__).parent / "recipes"
SHARE: Final = Rule("0 or more and below 1", lambda value: 0 <= value < 1)

SSDD_STAGES = ("encoder", "pretrain", "finetune", "distil")
STAGES = ("klvae", *SSDD_STAGES)


@dataclass(frozen=True)
class ModelRecipe:
    """Networks of a tokenizer.

    Attributes:
        f: image pixels per latent cell along one side.
        z_dim: channels of the latent.
        encoder_base: width of the encoder at its finest resolution; 128 in the paper.
        size: of the decoder, a name in :data:`ssdd_bench.nn.decoder.SIZES`.
        encoder_stage_size: size of the decoder that the encoder is trained with.
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
    """Terms of a tokenizer's loss; a weight of 0 leaves a term out and loads nothing for it.

    Attributes:
        perceptual: a name in :data:`ssdd_bench.train.losses.perceptual.DISTANCES`.
        perceptual_weight: of the distance between the target and the one-step prediction.
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
    """Settings of every optimiser, and of the average of the weights.

    Attributes:
        weight_decay: see the subclass.
        clip: largest norm of the gradient, of the networks and of the auxiliary modules apart.
        ema_decay: see :class:`ssdd_bench.nn.ema.EMA`.
        ema_start: iterations before averaging begins.
        bf16: compute in bfloat16, with float32 weights.
        compile: compile the networks, on a GPU.
        seed: of initial weights, the order of the data, crops and noise.
    """

    weight_decay: float
    clip: float
    ema_decay: Annotated[float, SHARE]
    ema_start: int
    bf16: bool
    compile: bool
    seed: int

    def lr_factor(self, iteration: int) -> float:
        """Return the share of the learning rate at an iteration, counted from 0."""
        return 1.0


@dataclass(frozen=True)
class ScheduleFreeRecipe(OptimiserRecipe):
    """RAdamScheduleFree at a constant learning rate; weights of layers decay.

    Attributes:
        beta2: memory of the squared gradient.
        decay_norms: weights of norms decay too, as in the paper's code.
    """

    beta2: float
    decay_norms: bool


@dataclass(frozen=True)
class AdamWRecipe(OptimiserRecipe):
    """AdamW at a constant learning rate, as the DiT and SiT papers train; all weights decay.

    Attributes:
        warmup: iterations over which the learning rate grows from 0.
    """

    warmup: int

    def lr_factor(self, iteration: int) -> float:
        """Grow linearly to 1."""
        return min(1.0, (iteration + 1) / max(self.warmup, 1))


@dataclass(frozen=True)
class EvaluationRecipe:
    """Scores during training, on images that are never trained on.

    Attributes:
        holdout: share of the images that is kept for it, chosen by the hash of their id.
        images: how many of them are scored, at most.
        resolution: in pixels.
        protocol: a name of ``ssdd-bench list protocols``.
        metrics: keys; the checkpoint with the best value of the first one is kept.
        steps: of the decoder before distillation, whose student takes one.
    """

    holdout: Annotated[float, SHARE]
    images: int
    resolution: int
    protocol: str
    metrics: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class StageRecipe:
    """Length of a stage.

    Attributes:
        iterations: updates of the weights; 0 leaves the stage out.
        lr: learning rate.
        batch_size: images or latents per update, over all processes.
        accumulate: shards that a process computes its batch in, one after the other.
        evaluate_every: iterations between two evaluations; 0 for one at the end.
    """

    iterations: Annotated[int, NOT_NEGATIVE]
    lr: float
    batch_size: Annotated[int, POSITIVE]
    accumulate: Annotated[int, POSITIVE]
    evaluate_every: Annotated[int, NOT_NEGATIVE]


@dataclass(frozen=True)
class CropRecipe(StageRecipe):
    """Stage that is trained on crops of images.

    Attributes:
        resolution: side of a crop in pixels.
        min_side: smallest length that an image's shorter side is resized to.
        max_side: largest one, exclusive; ``min_side + 1`` gives a fixed scale.
    """

    resolution: int
    min_side: int
    max_side: int


@dataclass(frozen=True)
class KLVAERecipe(CropRecipe):
    """KL-VAE with its adversarial loss.

    Attributes:
        gan_weight: of the adversarial term, after its adaptive weight; 0 for none.
        gan_start: iterations before it begins.
        discriminator_width: channels of the discriminator's first layer.
    """

    gan_weight: float
    gan_start: int
    discriminator_width: int


@dataclass(frozen=True)
class FlowRecipe(CropRecipe):
    """Stages 0 to 2 of SSDD, by flow matching.

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
class DistilRecipe(CropRecipe):
    """Stage 3.

    Attributes:
        teacher_steps: Euler steps of the teacher.
        teacher_power: exponent of its timestep schedule.
    """

    teacher_steps: int
    teacher_power: float


@dataclass(frozen=True)
class Recipe:
    """Recipe of tokenizers: settings that the stages share, and a table for each stage."""

    prefix: ClassVar[str] = ""

    model: ModelRecipe
    loss: LossRecipe
    optimiser: ScheduleFreeRecipe
    evaluation: EvaluationRecipe
    klvae: KLVAERecipe
    encoder: FlowRecipe
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
        return {key: whole[key] for key in ("model", "loss", "optimiser", stage)}


@dataclass(frozen=True)
class DiTStageRecipe(StageRecipe):
    """DiT on latents.

    Attributes:
        size: name in :data:`ssdd_bench.nn.dit.SIZES`.
        patch: latent cells along one side of a token.
        objective: ``flow`` predicts the velocity of the straight path (SiT); ``ddpm`` the noise,
            at 1,000 timesteps with linear betas (DiT) and fixed variances, which DiT learns too.
        label_dropout: share of labels replaced by none, for guidance.
        times: distribution of a flow's training times: ``uniform``, or ``logit-normal``
            (arXiv 2403.03206).
    """

    size: str
    patch: int
    objective: Literal["flow", "ddpm"]
    label_dropout: Annotated[float, SHARE]
    times: Literal["uniform", "logit-normal"]


@dataclass(frozen=True)
class DiTRecipe:
    """Recipe of a network of latents."""

    prefix: ClassVar[str] = "dit-"

    dit: DiTStageRecipe
    optimiser: AdamWRecipe


AnyRecipe = TypeVar("AnyRecipe", Recipe, DiTRecipe)


def recipe_names(kind: type[Recipe] | type[DiTRecipe] = Recipe) -> tuple[str, ...]:
    """List the names that :func:`load_recipe` takes for a kind of recipe."""
    names = {p.stem for p in RECIPES.glob("*.toml") if not p.name.startswith("_")}
    dits = {name for name in names if name.startswith(DiTRecipe.prefix)}
    chosen = dits if kind is DiTRecipe else names - dits
    return tuple(sorted(name.removeprefix(kind.prefix) for name in chosen))


def load_recipe(name_or_path: str, kind: type[AnyRecipe]) -> AnyRecipe:
    """Read a recipe by its name, or from a path that ends in ``.toml``.

    A file may name another one beside it as ``base`` and then holds only the differences.

    Raises:
        UnknownNameError: no recipe has that name.
        UserError: the file is missing, not TOML, or has an unknown or missing key or a value that
            is not allowed.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    elif name_or_path in recipe_names(kind):
        path = RECIPES / f"{kind.prefix}{name_or_path}.toml"
    else:
        raise UnknownNameError("recipe", name_or_path, recipe_names(kind))
    return read_record(kind, _read_tables(path), f"recipe {path}")


def _read_tables(path: Path) -> dict[str, Any]:
    """Read a recipe's file, and the one that it names as ``base`` under it."""
    tables = read_toml(path)
    base = tables.pop("base", None)
    if base is None:
        return tables
    if not isinstance(base, str) or Path(base).name != base:
        raise UserError(f"recipe {path}: base is {base!r}: give the name of a file beside it")
    return _merged(_read_tables(path.parent / f"{base}.toml"), tables)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged
