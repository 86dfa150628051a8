"""Stages of a recipe in their order: the weights they start from, and those that are kept."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from ssdd_bench.data.latents import LatentSet
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import OptionError
from ssdd_bench.evaluation.environment import hide_home
from ssdd_bench.evaluation.job import probe_pixels
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.train.batches import CropBatches
from ssdd_bench.train.decoded import DecodedCrops
from ssdd_bench.train.evaluation import Evaluator
from ssdd_bench.train.files import (
    Origin,
    TrainingData,
    card_path,
    read_card,
    save_weights,
    to_half,
)
from ssdd_bench.train.loop import Trainer
from ssdd_bench.train.recipe import SSDD_STAGES, DiTRecipe, Recipe
from ssdd_bench.train.stages.base import TokenizerStage
from ssdd_bench.train.stages.dit import DiTStage, latent_batches
from ssdd_bench.train.stages.ssdd import DistillationStage, FlowMatchingStage, SSDDStage
from ssdd_bench.weights.files import load_safetensors, sha256_file

# The average at the end is handed on, but distillation starts from the best by the scores.
HANDED_ON = {"pretrain": "last", "finetune": "last", "distil": "best"}


def start_file(stage: str, recipe: Recipe, out: Path) -> Path | None:
    """Find the weights that a stage starts from, in the folder of the stage before, if any."""
    if stage not in HANDED_ON:
        return None
    earlier = SSDD_STAGES[: SSDD_STAGES.index(stage)]
    before = next(name for name in reversed(earlier) if recipe.stage(name).iterations)
    kind = HANDED_ON[stage] if recipe.evaluation.is_scored else "last"
    path = out / before / f"{kind}.safetensors"
    if not path.exists():
        raise OptionError(f"{stage} starts from {path}, which does not exist: train {before} first")
    return path


def make_stage(stage: str, recipe: Recipe, start: Path | None) -> TokenizerStage:
    """Build the networks of a stage, initialised by the recipe's seed or taken from ``start``."""
    torch.manual_seed(recipe.optimiser.seed)
    if stage == "klvae":
        from ssdd_bench.train.stages.klvae import KLVAEStage  # diffusers takes seconds to import

        return KLVAEStage(recipe)
    if start is None:
        return FlowMatchingStage(stage, recipe)
    made: SSDDStage
    if stage == "distil":
        made = DistillationStage(recipe, start)
    else:
        made = FlowMatchingStage(stage, recipe, start)
    found, wanted = (f"f{one.f}c{one.z_dim}" for one in (made.encoder, recipe.model))
    if found != wanted:
        raise OptionError(
            f"{start} has an encoder of {found}, the recipe has {wanted}: take the recipe that it "
            "was trained by, or other weights"
        )
    auxiliary = auxiliary_file(stage, recipe, start)
    if auxiliary is not None:
        made.auxiliary.load_state_dict(load_safetensors(auxiliary))
    return made


def auxiliary_file(stage: str, recipe: Recipe, start: Path | None) -> Path | None:
    """Find the file of REPA's head, which is taken over together with the decoder, if any."""
    new = stage == "pretrain" and recipe.pretrain.new_decoder
    if start is None or new or not recipe.loss.repa_weight:
        return None
    path = start.with_name(f"{start.stem}-auxiliary.safetensors")
    return path if path.exists() else None


def identify_inputs(
    data: CropBatches, start: Path | None, auxiliary: Path | None
) -> dict[str, str]:
    """Hash the images of a training and the weights that it starts from, for its checkpoints.

    Folders and files may be moved: their paths are not hashed. Nor is the limit of an image's size:
    a training ends at a larger one, and goes on with a higher limit.
    """
    images = {
        "trained_on": data.ids,
        "held_out": data.held_out.ids if data.held_out is not None else (),
        "pixels": probe_pixels(data.source),
    }
    weights = [sha256_file(path) for path in (start, auxiliary) if path is not None]
    return {"images": fingerprint(images), "start weights": fingerprint(weights)}


def make_trainer(
    stage: str,
    recipe: Recipe,
    source: ImageSource,
    out: Path,
    start: Path | None = None,
    *,
    recipe_name: str = "",
    command: str = "",
) -> Trainer:
    """Build the trainer of one of the stages of a tokenizer, in its own folder under ``out``.

    Images of ``source`` that are held out are scored and never trained on. ``start`` comes from
    :func:`start_file` or the user; the cards keep ``recipe_name`` and ``command``.
    """
    made = make_stage(stage, recipe, start)
    kind = DecodedCrops if recipe.data.photos == "decoded" else CropBatches
    data = kind(source, made.schedule, recipe.evaluation.holdout, recipe.optimiser.seed)
    before = read_card(start) if start is not None and card_path(start).exists() else None
    origin = Origin(
        data=TrainingData(source.name, images=len(source), trained_on=len(data.ids)),
        command=hide_home(command),
        recipe_name=recipe_name,
        start=start.name if start else None,
        before=(*before.origin.before, before.cost()) if before else (),
    )
    folder = out / stage
    inputs = identify_inputs(data, start, auxiliary_file(stage, recipe, start))
    trainer = Trainer(made, data, folder, origin, inputs=inputs)
    if recipe.evaluation.is_scored:
        device = trainer.accelerator.device
        trainer.evaluator = Evaluator(made, data.held_out, device, folder / "samples")
    return trainer


def make_dit_trainer(
    latents: LatentSet,
    recipe: DiTRecipe,
    out: Path,
    device: torch.device,
    *,
    recipe_name: str = "",
    command: str = "",
) -> Trainer:
    """Build the trainer of a DiT."""
    config = latents.record.config
    torch.manual_seed(recipe.optimiser.seed)
    stage = DiTStage(recipe, latents.record)
    data = TrainingData(config.data, images=config.n, trained_on=config.n)
    origin = Origin(data=data, command=hide_home(command), recipe_name=recipe_name)
    batches = partial(latent_batches, latents, recipe.optimiser.seed)
    # Statistics tell latents of images with the same ids apart.
    content = {"config": asdict(config), "statistics": asdict(latents.record.statistics)}
    inputs = {"latents": fingerprint(content)}
    return Trainer(stage, batches, out, origin, device, inputs=inputs)


def finish(trainer: Trainer) -> Path | None:
    """Copy the best weights of a finished tokenizer to the folder of the run, in float16.

    They are the latest ones under a recipe without scores. Nothing is copied of a stage that ends
    in no tokenizer, or where a score is still missing.
    """
    stage = trainer.stage
    if not isinstance(stage, TokenizerStage) or not stage.is_final:
        return None
    kind = "best" if stage.recipe.evaluation.is_scored else "last"
    best = trainer.out / f"{kind}.safetensors"
    if not best.exists():
        return None
    target = trainer.out.parent / f"{stage.name}.safetensors"
    save_weights(target, to_half(load_safetensors(best)), read_card(best))
    return target
