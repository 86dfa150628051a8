"""Recipe of a training that takes seconds."""

from dataclasses import replace

from ssdd_bench.train.recipe import STAGES


def small(recipe):
    """Small batches and crops, narrow networks, and one evaluation on two small photos."""
    crops = {"batch_size": 2, "resolution": 32, "min_side": 32, "max_side": 48}
    stages = {name: replace(recipe.stage(name), **crops) for name in STAGES}
    stages["klvae"] = replace(stages["klvae"], gan_start=2, discriminator_width=8)
    stages["distil"] = replace(stages["distil"], teacher_steps=2)
    narrow = {"block_out_channels": [16, 16, 16, 16], "layers_per_block": 1}
    model = replace(recipe.model, size="XXS", encoder_stage_size="XXS")
    return replace(
        recipe,
        **stages,
        model=replace(model, encoder_base=16, klvae=model.klvae | narrow),
        optimiser=replace(recipe.optimiser, ema_start=6),
        evaluation=replace(recipe.evaluation, holdout=0.2, images=2, resolution=64, steps=2),
    )
