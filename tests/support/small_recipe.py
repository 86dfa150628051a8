"""Recipes of trainings that take seconds."""

from dataclasses import replace

from ssdd_bench.train.recipe import STAGES


def narrow(recipe, batch_size=2, side=32, max_side=48):
    """Small batches and crops, and networks of a few channels."""
    crops = {"batch_size": batch_size, "resolution": side, "min_side": side, "max_side": max_side}
    stages = {name: replace(recipe.stage(name), **crops) for name in STAGES}
    stages["klvae"] = replace(stages["klvae"], discriminator_width=8)
    klvae = recipe.model.klvae | {"block_out_channels": [16, 16, 16, 16], "layers_per_block": 1}
    model = replace(recipe.model, size="XXS", encoder_stage_size="XXS", encoder_base=16)
    return replace(recipe, **stages, model=replace(model, klvae=klvae))


def small(recipe, **crops):
    """Let each part of a :func:`narrow` recipe begin soon, and score two small photos once."""
    recipe = narrow(recipe, **crops)
    return replace(
        recipe,
        klvae=replace(recipe.klvae, gan_start=2),
        distil=replace(recipe.distil, teacher_steps=2),
        optimiser=replace(recipe.optimiser, ema_start=6),
        evaluation=replace(recipe.evaluation, holdout=0.2, images=2, resolution=64, steps=2),
    )
