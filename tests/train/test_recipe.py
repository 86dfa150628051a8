"""Recipes: complete files, inheritance, and every number of the paper's in a run of two steps."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.nn import decoder
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.ssdd.checkpoints import load_ssdd
from ssdd_bench.train import recipe as recipes
from ssdd_bench.train.cost import stage_cost
from ssdd_bench.train.decoded import DecodedCrops
from ssdd_bench.train.files import read_card
from ssdd_bench.train.losses.perceptual import DISTANCES
from ssdd_bench.train.losses.repa import TARGETS, Target
from ssdd_bench.train.pipeline import finish, make_trainer, start_file
from ssdd_bench.train.recipe import (
    RECIPES,
    SSDD_STAGES,
    STAGES,
    DiTRecipe,
    Recipe,
    load_recipe,
    recipe_names,
)

LATENTS = ("f8c4", "f16c4", "f16c16", "f32c64")
SIZES = ("S", "B", "M", "L", "XL", "H")
MINI = ("mini-f8c4", "mini-f16c4")
LONG = tuple(f"{name}-long" for name in MINI)
PAPER = [f"paper-{latent}-{size}" for latent in LATENTS for size in SIZES]


def test_every_recipe_is_there_and_complete():
    assert set(recipe_names()) == {*PAPER, *MINI, *LONG}
    for name in recipe_names():
        recipe = load_recipe(name, Recipe)
        assert f"f{recipe.model.f}c{recipe.model.z_dim}" in name
        assert len(recipe.model.klvae["block_out_channels"]) == recipe.model.f.bit_length()
        assert recipe.model.klvae["latent_channels"] == recipe.model.z_dim


def test_numbers_of_the_paper():
    recipe = load_recipe("paper-f8c4-M", Recipe)
    epochs = [recipe.stage(name).iterations / 5005 for name in SSDD_STAGES]
    assert epochs == [300, 300, 100, 10]
    assert [recipe.stage(name).lr for name in SSDD_STAGES] == [1e-4, 8e-4, 1e-4, 1e-4]
    assert load_recipe("paper-f16c4-H", Recipe).pretrain.lr == 3e-4
    assert (recipe.loss.perceptual_weight, recipe.loss.repa_weight) == (0.5, 0.25)
    assert (recipe.optimiser.clip, recipe.optimiser.beta2) == (0.1, 0.999)
    assert recipe.distil.teacher_steps == 12


@pytest.mark.parametrize("name", ["paper-f8c4-S", "paper-f16c4-L"])
def test_kl_of_the_baseline_is_that_of_latent_diffusion(name):
    """1e-6 beside an L1 that is summed over the image; SSDD's losses are means."""
    recipe = load_recipe(name, Recipe)
    values = 3 * recipe.klvae.resolution**2
    assert recipe.klvae.kl_weight == pytest.approx(1e-6 / values, rel=0.01)
    assert recipe.encoder.kl_weight == 1e-6


@pytest.mark.slow
def test_cost_counts_what_is_trained():
    recipe = load_recipe("paper-f8c4-S", Recipe)
    found = {name: stage_cost(name, recipe) for name in SSDD_STAGES}
    encoder = sum(p.numel() for p in SSDDEncoder(8, 4).parameters())
    medium, small = (sum(p.numel() for p in SSDDDecoder(size).parameters()) for size in ("M", "S"))
    assert found["encoder"].parameters == encoder + medium
    assert found["finetune"].parameters == small
    # The network alone has 82 GMAC at 256 px; a backward pass takes twice a forward one, the
    # frozen encoder 136.
    assert found["finetune"].gmac_per_image == pytest.approx(3 * 82 + 136, rel=0.03)
    assert found["distil"].gmac_per_image == pytest.approx(15 * 82 + 136, rel=0.03)
    # Autocast keeps what norms read in float32: 221 MB if everything were in bfloat16.
    assert found["pretrain"].activation_bytes == pytest.approx(420e6, rel=0.05)
    # Four times as many pixels, and attention of sixteen times as many pairs of tokens.
    ratio = found["finetune"].activation_bytes / found["pretrain"].activation_bytes
    assert 4 < ratio < 4.5
    exact = replace(recipe, optimiser=replace(recipe.optimiser, bf16=False))
    more = stage_cost("pretrain", exact).activation_bytes
    assert 1 < more / found["pretrain"].activation_bytes < 2
    assert not torch.is_autocast_enabled("cuda")


class NoDistance(nn.Module):
    """Replace LPIPS, whose weights are not everywhere."""

    def forward(self, images, targets):
        return (images - targets).abs().mean()


class NoTarget(Target):
    """Replace DINOv2 by the mean colour of every token."""

    channels = 3

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 8).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("latent", LATENTS)
def test_recipes_of_a_latent_differ_in_the_size_alone(latent):
    small, *others = (load_recipe(f"paper-{latent}-{size}", Recipe) for size in SIZES)
    for size, recipe in zip(SIZES[1:], others, strict=True):
        assert recipe.model == replace(small.model, size=size)
        lr = 3e-4 if size == "H" else small.pretrain.lr
        assert recipe.pretrain == replace(small.pretrain, lr=lr)
        assert replace(recipe, model=small.model, pretrain=small.pretrain) == small
    assert (small.evaluation.resolution, small.evaluation.steps) == (0, small.distil.teacher_steps)


@pytest.mark.parametrize(("name", "short"), [*zip(LONG, MINI, strict=True)])
def test_long_recipes_train_the_mini_networks_on_equally_many_crops(name, short):
    recipe, mini = load_recipe(name, Recipe), load_recipe(short, Recipe)
    assert recipe.model == mini.model
    assert recipe.loss == mini.loss
    crops = {s: recipe.stage(s).iterations * recipe.stage(s).batch_size for s in STAGES}
    assert crops.pop("klvae") == sum(crops.values()) > 2_000_000
    assert min(recipe.stage(s).batch_size for s in STAGES) >= 128
    assert recipe.evaluation.holdout == mini.evaluation.holdout
    assert not recipe.evaluation.is_scored
    for stage in STAGES:
        ours, theirs = recipe.stage(stage), mini.stage(stage)
        assert ours.lr == pytest.approx(2 * theirs.lr)
        assert (ours.resolution, ours.min_side, ours.max_side) == (
            theirs.resolution,
            theirs.min_side,
            theirs.max_side,
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [LONG[0], pytest.param(LONG[1], marks=pytest.mark.nightly)])
def test_dry_run_of_a_long_recipe(name, make_photos, tmp_path):
    """Four iterations of every stage in small batches, one stage after another, without scores."""
    recipe = load_recipe(name, Recipe)
    tables = {stage: replace(recipe.stage(stage), batch_size=2) for stage in STAGES}
    tables["klvae"] = replace(tables["klvae"], gan_start=2)
    recipe = replace(recipe, **tables)
    data = open_images(make_photos(12, (300, 260)))
    finished = {}
    for stage in STAGES:
        run = make_trainer(stage, recipe, data, tmp_path, start_file(stage, recipe, tmp_path))
        assert isinstance(run.data, DecodedCrops)
        assert run.evaluator is None
        list(run.run(4))
        assert all(torch.isfinite(value).all() for value in run.averaged_weights().values())
        finished[stage] = finish(run)
    assert [stage for stage, path in finished.items() if path] == ["klvae", "finetune", "distil"]
    card = read_card(finished["distil"])
    assert card.scores is None
    assert [cost.stage for cost in card.origin.before] == list(SSDD_STAGES[:3])
    load_ssdd(finished["distil"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"paper-{latent}-S" for latent in LATENTS])
def test_dry_run_of_the_papers_recipe(name, make_photos, tmp_path, monkeypatch):
    monkeypatch.setitem(DISTANCES, "lpips-vgg", NoDistance)
    monkeypatch.setitem(TARGETS, "dinov2-b", NoTarget)
    recipe = load_recipe(name, Recipe)
    levels = len(recipe.model.klvae["block_out_channels"])
    narrow = {"block_out_channels": [32] * levels, "layers_per_block": 1}
    model = replace(
        recipe.model,
        size="XXS",
        encoder_stage_size="XXS",
        encoder_base=16,
        klvae=recipe.model.klvae | narrow,
    )
    crops = {"batch_size": 2, "resolution": 64, "min_side": 64, "max_side": 65}
    tables = {stage: replace(recipe.stage(stage), **crops) for stage in STAGES}
    tables["klvae"] = replace(tables["klvae"], discriminator_width=8, gan_start=1)
    unscored = replace(recipe.evaluation, images=0)
    recipe = replace(recipe, model=model, evaluation=unscored, **tables)
    data = open_images(make_photos(4, (80, 72)))
    before = None
    for stage in STAGES:
        start = before if stage not in ("klvae", "encoder") else None
        run = make_trainer(stage, recipe, data, tmp_path, start)
        list(run.run(2))
        assert all(torch.isfinite(value).all() for value in run.averaged_weights().values())
        before = tmp_path / stage / "last.safetensors"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text + "\n[extra]\n", "unknown key 'extra'"),
        (lambda text: text.replace("lr =", "learning_rate =", 1), "'klvae.learning_rate'"),
        (lambda text: text.replace("clip = 1.0\n", ""), "missing key 'optimiser.clip'"),
        (lambda text: text.replace("bf16 = true", "bf16 = 1"), "'optimiser.bf16' must be "),
        (lambda text: text.replace('repa = "effnet-lite1"', 'repa = "clip"'), "loss.repa"),
        (lambda text: text.replace('photos = "files"', 'photos = "disk"'), "data.photos"),
        (lambda text: text.replace("accumulate = 1", "accumulate = 0", 1), "klvae.accumulate"),
        (lambda text: text.replace("holdout = 0.1", "holdout = 1.0"), "evaluation.holdout"),
        (lambda text: 'base = "../x"\n' + text, "the name of a file beside it"),
        (lambda text: 'base = "gone"\n' + text, "No such file"),
        (lambda text: 'base = "mine"\n' + text, "mine -> mine"),
        (lambda text: text.replace("max_side = 288", "max_side = 64", 1), "'klvae.max_side'"),
        (
            lambda text: text.replace("resolution = 64", "resolution = 72", 1),
            "at most min_side, 64",
        ),
        (
            lambda text: text.replace("resolution = 64", "resolution = 60", 1),
            "multiple of 8, not 60",
        ),
        (
            lambda text: text.replace("f = 8", "f = 16").replace(
                "resolution = 128", "resolution = 136"
            ),
            "finetune.resolution' must be a multiple of 16",
        ),
        (
            lambda text: text.replace("resolution = 256", "resolution = 250"),
            "'evaluation.resolution'",
        ),
        (
            lambda text: text.replace('metrics = ["fd_effnet", "psnr", "ssim"]', "metrics = []"),
            "name a metric",
        ),
        (lambda text: "[data", "recipe"),
    ],
)
def test_wrong_recipe(tmp_path, edit, message):
    path = tmp_path / "mine.toml"
    path.write_text(edit((RECIPES / "mini-f8c4.toml").read_text()))
    with pytest.raises(UserError, match=message):
        load_recipe(str(path), Recipe)


def test_recipe_holds_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "below.toml").write_text((RECIPES / "mini-f8c4.toml").read_text())
    path = tmp_path / "mine.toml"
    path.write_text('base = "below"\n[loss]\nrepa_weight = 0.0\n')
    mine, below = load_recipe(str(path), Recipe), load_recipe("mini-f8c4", Recipe)
    assert mine.loss.repa_weight == 0
    assert replace(mine, loss=below.loss) == below


def test_unknown_recipe():
    with pytest.raises(UnknownNameError, match="did you mean mini-f8c4"):
        load_recipe("mini-f8c5", Recipe)


def test_dit_recipes_lie_beside_the_others():
    assert set(recipe_names(DiTRecipe)) == {"nano", "nano-1", "xl-2"}
    nano, nano_1 = (load_recipe(name, DiTRecipe) for name in ("nano", "nano-1"))
    assert replace(nano, dit=replace(nano.dit, patch=1)) == nano_1
    with pytest.raises(UnknownNameError, match="nano"):
        load_recipe("nani", DiTRecipe)
    with pytest.raises(UnknownNameError):
        load_recipe("mini-f8c4", DiTRecipe)
    with pytest.raises(UserError, match="mini-f8c4"):
        load_recipe(str(RECIPES / "mini-f8c4.toml"), DiTRecipe)


def test_dits_warm_up_linearly():
    optimiser = replace(load_recipe("nano", DiTRecipe).optimiser, warmup=4)
    assert [optimiser.lr_factor(i) for i in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert replace(optimiser, warmup=0).lr_factor(0) == 1


def test_sides_fit_the_decoder():
    assert recipes.DOWNSAMPLING == decoder.DOWNSAMPLING


def test_only_the_papers_recipes_decay_norms():
    assert load_recipe("paper-f8c4-M", Recipe).optimiser.decay_norms
    assert not load_recipe("mini-f8c4", Recipe).optimiser.decay_norms
