"""Stages of a recipe in their order: the weights they start from, and those that are kept."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ssdd_bench.data.latents import LatentSet
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import OptionError
from ssdd_bench.train.card import (
    Origin,
    StageCost,
    TrainingData,
    card_path,
    read_card,
)
from ssdd_bench.train.checkpoint import copy_half
from ssdd_bench.train.crops import CropBatches, held_out
from ssdd_bench.train.evaluation import Evaluator
from ssdd_bench.train.loop import Trainer
from ssdd_bench.train.recipe import SSDD_STAGES, DiTRecipe, Recipe
from ssdd_bench.train.stages.base import TokenizerStage
from ssdd_bench.train.stages.distillation import DistillationStage
from ssdd_bench.train.stages.dit import DiTStage, LatentBatches
from ssdd_bench.train.stages.flow_matching import FlowMatchingStage
from ssdd_bench.train.stages.klvae import KLVAEStage
from ssdd_bench.weights.files import load_safetensors

# The average at the end is handed on, but distillation starts from the best by the scores.
HANDED_ON = {"pretrain": "last", "finetune": "last", "distil": "best"}


def start_file(stage: str, recipe: Recipe, out: Path) -> Path | None:
    """Find the weights that a stage starts from, in the folder of the stage before.

    Returns:
        None for a first stage.

    Raises:
        OptionError: the stage before has not been trained.
    """
    if stage not in HANDED_ON:
        return None
    earlier = SSDD_STAGES[: SSDD_STAGES.index(stage)]
    before = next(name for name in reversed(earlier) if recipe.stage(name).iterations)
    path = out / before / f"{HANDED_ON[stage]}.safetensors"
    if not path.exists():
        raise OptionError(f"{stage} starts from {path}, which does not exist: train {before} first")
    return path


def make_stage(stage: str, recipe: Recipe, start: Path | None) -> TokenizerStage:
    """Build the networks of a stage, initialised by the recipe's seed or taken from ``start``.

    REPA's head is taken over together with the decoder.

    Raises:
        OptionError: ``distil`` without weights to start from.
    """
    torch.manual_seed(recipe.optimiser.seed)
    if stage == "klvae":
        return KLVAEStage(recipe)
    made: TokenizerStage
    if stage != "distil":
        made = FlowMatchingStage(stage, recipe, start)
    elif start is None:
        raise OptionError(
            "distil starts from the weights of a diffusion decoder: give --start FILE"
        )
    else:
        made = DistillationStage(recipe, start)
    if start is not None and not (stage == "pretrain" and recipe.pretrain.new_decoder):
        auxiliary = start.with_name(f"{start.stem}-auxiliary.safetensors")
        if auxiliary.exists() and len(made.auxiliary):
            made.auxiliary.load_state_dict(load_safetensors(auxiliary))
    return made


def earlier_stages(start: Path | None) -> tuple[StageCost, ...]:
    """List the cost of the stages before, in their order, from the card beside their weights.

    Args:
        start: weights that a stage starts from; those without a card count as none.

    Raises:
        UserError: the card is damaged.
    """
    if start is None or not card_path(start).exists():
        return ()
    card = read_card(start)
    return (*card.origin.before, card.cost())


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
    """Build the trainer of one stage of a tokenizer, in its own folder under ``out``.

    Args:
        stage: one of :data:`ssdd_bench.train.recipe.STAGES`.
        recipe: every number.
        source: all images; those held out are scored and never trained on.
        out: folder of the run.
        start: from :func:`start_file`, or the user's.
        recipe_name: for the cards.
        command: for the cards.
    """
    made = make_stage(stage, recipe, start)
    fraction = recipe.evaluation.holdout
    data = CropBatches(
        source, made.schedule, fraction, recipe.optimiser.seed, workers=min(8, os.cpu_count() or 1)
    )
    origin = Origin(
        data=TrainingData(source.name, images=len(source), trained_on=len(data.ids)),
        command=command,
        recipe_name=recipe_name,
        start=start.name if start else None,
        before=earlier_stages(start),
    )
    folder = out / stage
    trainer = Trainer(made, data, folder, origin)
    kept = held_out(source, fraction)
    if kept is not None:
        device = trainer.accelerator.device
        trainer.evaluator = Evaluator(recipe.evaluation, kept, device, folder / "samples")
    return trainer


def make_dit_trainer(
    latents: LatentSet,
    recipe: DiTRecipe,
    out: Path,
    device: torch.device | None = None,
    *,
    recipe_name: str = "",
    command: str = "",
) -> Trainer:
    """Build the trainer of a DiT.

    Args:
        latents: of the training set.
        recipe: every number.
        out: folder of the run.
        device: None for accelerate's choice.
        recipe_name: for the card.
        command: for the card.

    Raises:
        OptionError: the network does not fit the latents.
    """
    config = latents.record.config
    torch.manual_seed(recipe.optimiser.seed)
    stage = DiTStage(recipe, latents.record)
    data = TrainingData(config.data, images=config.n, trained_on=config.n)
    origin = Origin(data=data, command=command, recipe_name=recipe_name)
    batches = LatentBatches(latents, recipe.optimiser.seed)
    return Trainer(stage, batches, out, origin, device=device)


def finish(trainer: Trainer) -> Path | None:
    """Copy the best weights of a finished tokenizer to the folder of the run, in float16.

    Returns:
        The copy, named like the stage; None for a stage that ends in no tokenizer, or where
        nothing was scored.
    """
    best, stage = trainer.out / "best.safetensors", trainer.stage
    if not isinstance(stage, TokenizerStage) or not stage.is_final or not best.exists():
        return None
    target = trainer.out.parent / f"{stage.name}.safetensors"
    copy_half(best, target)
    return target
