"""The stages of a recipe in their order: what each starts from, and what is kept at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import OptionError
from ssdd_bench.train.checkpoint import save_half
from ssdd_bench.train.crops import CropStream, held_out
from ssdd_bench.train.evaluation import Evaluator
from ssdd_bench.train.loop import Trainer
from ssdd_bench.train.recipe import SSDD_STAGES, Recipe
from ssdd_bench.train.stages.base import Stage
from ssdd_bench.train.stages.distillation import DistillationStage
from ssdd_bench.train.stages.flow_matching import FlowMatchingStage
from ssdd_bench.train.stages.klvae import KLVAEStage
from ssdd_bench.weights.files import load_safetensors
from ssdd_bench.weights.hub import read_config

# The average at the end is handed on, but distillation takes the best by the scores.
HANDED_ON = {"pretrain": "last", "finetune": "last", "distil": "best"}

FINISHED = {"klvae": "klvae", "finetune": "diffusion", "distil": "ssdd"}
"""Stages whose best weights are a tokenizer, and its name."""


def start_file(stage: str, recipe: Recipe, out: Path) -> Path | None:
    """Weights that a stage starts from, in the folder of the stage before; None for the first.

    Raises:
        OptionError: that stage has not been trained.
    """
    if stage not in HANDED_ON:
        return None
    earlier = SSDD_STAGES[: SSDD_STAGES.index(stage)]
    before = next(name for name in reversed(earlier) if recipe.stage(name).iterations)
    path = out / before / f"{HANDED_ON[stage]}.safetensors"
    if not path.exists():
        raise OptionError(f"{stage} starts from {path}, which is not there: train {before} first")
    return path


def make_stage(stage: str, recipe: Recipe, start: Path | None) -> Stage:
    """Build the networks of a stage, drawn from the recipe's seed or taken from ``start``.

    REPA's head is taken over too where the decoder is.
    """
    torch.manual_seed(recipe.optimiser.seed)
    made: Stage
    if stage == "klvae":
        return KLVAEStage(recipe)
    if stage != "distil":
        made = FlowMatchingStage(stage, recipe, start)
    elif start is None:
        raise OptionError(
            "distil starts from the weights of a diffusion decoder: give --start FILE"
        )
    else:
        made = DistillationStage(recipe, start)
    if start is not None and not (stage == "pretrain" and recipe.pretrain.new_decoder):
        helper = start.with_name(f"{start.stem}-helper.safetensors")
        if helper.exists() and len(made.helper):
            made.helper.load_state_dict(load_safetensors(helper))
    return made


def earlier_stages(start: Path | None) -> list[dict[str, Any]]:
    """What the stages before cost, in their order, from the cards beside their weights.

    Args:
        start: weights that a stage starts from; those without a card count as none.

    Raises:
        WeightsError: the card is damaged.
    """
    card = start.with_suffix(".json") if start else None
    if card is None or not card.exists():
        return []
    told = read_config(card)
    kept = ("stage", "iterations", "images_seen", "seconds", "threads")
    return [*told.get("before", []), {key: told.get(key) for key in kept}]


def make_trainer(
    stage: str,
    recipe: Recipe,
    source: ImageSource,
    out: Path,
    start: Path | None,
    facts: Mapping[str, Any],
) -> Trainer:
    """Everything for one stage, in its own folder under ``out``.

    Args:
        stage: one of :data:`ssdd_bench.train.recipe.STAGES`.
        recipe: every number.
        source: all images; those held out are scored and never trained on.
        out: folder of the run.
        start: from :func:`start_file`, or the user's.
        facts: for the cards, such as the command.
    """
    made = make_stage(stage, recipe, start)
    fraction = recipe.evaluation.holdout
    stream = CropStream(
        source, made.schedule, fraction, recipe.optimiser.seed, workers=min(8, os.cpu_count() or 1)
    )
    card = {
        **facts,
        "stage": stage,
        "recipe": recipe.decides(stage),
        "start": start.name if start else None,
        "before": earlier_stages(start),
        "data": {"name": source.name, "trained_on": len(stream.ids), "images": len(source)},
        "parameters": sum(p.numel() for p in made.networks.parameters()),
        "threads": torch.get_num_threads(),
        "licence": "Apache-2.0",
    }
    folder = out / stage
    trainer = Trainer(made, stream, folder, card)
    kept = held_out(source, fraction)
    if kept is not None:
        device = trainer.accelerator.device
        trainer.evaluator = Evaluator(recipe.evaluation, kept, device, folder / "samples")
    return trainer


def finish(stage: str, out: Path) -> Path | None:
    """Copy the best weights of a finished tokenizer to ``out``, in float16; tells where.

    None for a stage that ends in no tokenizer, or where nothing was scored.
    """
    best = out / stage / "best.safetensors"
    if stage not in FINISHED or not best.exists():
        return None
    target = out / f"{FINISHED[stage]}.safetensors"
    save_half(best, target)
    return target
