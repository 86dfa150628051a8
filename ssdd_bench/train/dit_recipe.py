"""Recipes: every number of the training of a DiT, read from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.records import read_record
from ssdd_bench.train.recipe import read_tables

RECIPES = Path(__file__).parent / "dit_recipes"


@dataclass(frozen=True)
class DiTRecipe:
    """AdamW with a constant learning rate, as the DiT and SiT papers train.

    Attributes:
        size: name in :data:`ssdd_bench.nn.dit.SIZES`.
        patch: latent cells along one side of a token.
        objective: ``flow``: velocity of the straight path (SiT); ``ddpm``: the noise, at 1,000
            levels with linear betas (DiT), with fixed variances: DiT learns them besides.
        iterations: length of the training.
        batch_size: latents per iteration.
        lr: learning rate.
        warmup: iterations over which it grows from 0.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        ema_decay: weight of the past in the average that is sampled from.
        label_dropout: share of labels replaced by none, for guidance.
        times: how a flow's training times are drawn: ``uniform``, or ``logit-normal``
            (arXiv 2403.03206).
        bf16: compute in bfloat16, with float32 weights.
        seed: of initial weights, order, noise, times and dropped labels.
    """

    size: str
    patch: int
    objective: Literal["flow", "ddpm"]
    iterations: int
    batch_size: int
    lr: float
    warmup: int
    weight_decay: float
    clip: float
    ema_decay: float
    label_dropout: float
    times: Literal["uniform", "logit-normal"]
    bf16: bool
    seed: int


def load_dit_recipe(name_or_path: str) -> DiTRecipe:
    """Read a recipe by its name, or from a path that ends in ``.toml``.

    A file may name another one beside it as ``base`` and then holds only what differs.

    Raises:
        UnknownNameError: no such recipe.
        UserError: the file is missing, not TOML, or has an unknown or missing key or one of the
            wrong type.
    """
    known = {path.stem: path for path in RECIPES.glob("*.toml")}
    path = Path(name_or_path) if name_or_path.endswith(".toml") else known.get(name_or_path)
    if path is None:
        raise UnknownNameError("DiT recipe", name_or_path, known)
    recipe = read_record(DiTRecipe, read_tables(path), f"recipe {path}")
    for key in ("iterations", "batch_size"):
        if getattr(recipe, key) < 1:
            raise UserError(f"recipe {path}: {key} must be at least 1")
    if not 0 <= recipe.label_dropout < 1 or not 0 <= recipe.ema_decay < 1:
        raise UserError(f"recipe {path}: label_dropout and ema_decay lie in [0, 1)")
    return recipe
