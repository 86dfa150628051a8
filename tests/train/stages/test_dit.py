"""DiT: it trains as before, learns, resumes bit for bit, and its card tells what samples need."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file

from ssdd_bench.data.latents import LatentSet
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.train.files import read_card
from ssdd_bench.train.pipeline import make_dit_trainer
from ssdd_bench.train.recipe import RECIPES

CPU = torch.device("cpu")

# Losses of eight iterations, and sums of the absolute averaged weights after them.
BEFORE = {
    "flow": (
        [1.9983474, 2.0029395, 1.9175192, 2.0772262, 1.9927465, 2.1863754, 1.9223672, 1.8663994],
        {"x_embedder.proj.weight": 18.64678486, "final_layer.linear.weight": 0.712302129},
    ),
    "ddpm": (
        [0.9316614, 1.0463942, 0.8650391, 0.9403205, 0.9351363, 0.8643767, 0.8207803, 0.7764110],
        {"x_embedder.proj.weight": 18.88735007, "final_layer.linear.weight": 1.070470245},
    ),
}


def changed(recipe, optimiser=None, **dit):
    return replace(
        recipe,
        dit=replace(recipe.dit, **dit),
        optimiser=replace(recipe.optimiser, **(optimiser or {})),
    )


def trainer(latents, recipe, out, command=""):
    return make_dit_trainer(latents, recipe, out, CPU, command=command)


@pytest.mark.parametrize("objective", BEFORE)
def test_it_trains_as_before(latents, recipe, objective, tmp_path):
    run = trainer(latents, changed(recipe, objective=objective), tmp_path)
    losses, weights = BEFORE[objective]
    run.start()
    batches = run.batches()
    found = [run.step(batches)["loss"].item() for _ in losses]  # more than one epoch of 24 images
    assert found == pytest.approx(losses, rel=1e-5)
    for name, expected in weights.items():
        average = run.averaged_weights()[f"dit.{name}"]
        assert average.double().abs().sum().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize("objective", ["flow", "ddpm"])
def test_resumed_run_equals_one_that_was_not_stopped(latents, recipe, objective, tmp_path):
    recipe = changed(recipe, objective=objective)
    whole = trainer(latents, recipe, tmp_path / "whole")
    list(whole.run(8))
    list(trainer(latents, recipe, tmp_path / "halves").run(3))
    half = trainer(latents, recipe, tmp_path / "halves")
    half.resume()
    assert half.iteration == 3
    torch.rand(7)  # global random numbers change nothing
    list(half.run(8))
    for name, value in whole.stage.networks.state_dict().items():
        assert torch.equal(half.stage.networks.state_dict()[name], value), name
        assert torch.equal(half.ema.weights[name], whole.ema.weights[name]), name
    files = [load_file(tmp_path / name / "last.safetensors") for name in ("whole", "halves")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert {value.dtype for value in files[0].values()} == {torch.float16}


@pytest.mark.nightly
def test_two_processes_train_what_one_does(latents, tmp_path):
    (tmp_path / "nano.toml").write_text((RECIPES / "dit" / "nano.toml").read_text())
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'base = "nano"\n[dit]\npatch = 1\nbatch_size = 8\naccumulate = 2\n'
        "[optimiser]\nwarmup = 2\nbf16 = false\n"
    )
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    for count in ("1", "2"):
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", count),
            *("--standalone", "-m", "ssdd_bench", "gen", "train", "--latents", latents.folder),
            *("--recipe", recipe, "--out", tmp_path / count, "--iterations", "4", "--quiet"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (tmp_path / count / "last.safetensors" for count in ("1", "2"))
    assert (read_card(one).processes, read_card(two).processes) == (1, 2)
    assert read_card(two).images_seen == 32
    ours, theirs = load_file(one), load_file(two)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name].float(), value.float(), rtol=1e-3, atol=1e-4)
    assert ours["final_layer.linear.weight"].abs().max() > 1e-3  # they did train


@pytest.mark.medium
def test_a_finished_run_is_left_alone_and_one_that_lost_its_weights_is_not(
    latents, recipe, tmp_path
):
    list(trainer(latents, recipe, tmp_path, "first").run(2))
    path, card = tmp_path / "last.safetensors", tmp_path / "last.json"
    weights = path.read_bytes()
    for lost, command in ((None, "second"), (card, "third"), (path, "fourth")):
        if lost:
            lost.unlink()
        run = trainer(latents, recipe, tmp_path, command)
        run.resume()
        assert list(run.run(2)) == []
        assert read_card(path).origin.command == (command if lost else "first")
        assert path.read_bytes() == weights
    list(run.run(3))
    assert read_card(path).iterations == 3

    list(trainer(latents, changed(recipe, {"seed": 1}), tmp_path, "anew").run(3))  # --restart
    assert read_card(path).origin.command == "anew"


@pytest.mark.slow
def test_it_learns(latents, recipe, tmp_path):
    run = trainer(latents, changed(recipe, batch_size=24), tmp_path)
    losses = [state.losses["loss"] for state in run.run(150)]
    assert np.mean(losses[-5:]) < 0.75 * losses[0]
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["iteration"] == 150


def test_batches_go_through_every_image_once_an_epoch(latents, recipe, tmp_path):
    run = trainer(latents, changed(recipe, batch_size=6, accumulate=2), tmp_path)
    batches = run.batches()
    data, labels = map(torch.cat, zip(*(next(batches) for _ in range(8)), strict=True))
    assert len(labels) == 24
    assert labels.sum().item() == latents.labels.sum()
    assert data.mean((0, 2, 3)).abs().max() < 0.05
    assert data.std((0, 2, 3)).sub(1).abs().max() < 0.05


@pytest.mark.medium
def test_a_checkpoint_of_other_settings_or_latents_is_refused(
    photos, latents, encode, recipe, tmp_path
):
    list(trainer(latents, recipe, tmp_path).run(1))
    with pytest.raises(UserError, match="--restart"):
        trainer(latents, changed(recipe, lr=1e-3), tmp_path).resume()
    encode(photos, tmp_path / "other", flips=False)
    with pytest.raises(UserError, match="--restart"):
        trainer(LatentSet(tmp_path / "other"), recipe, tmp_path).resume()
    negatives = tmp_path / photos.name
    for path in photos.rglob("*.png"):
        (negatives / path.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            ImageOps.invert(image).save(negatives / path.relative_to(photos))
    encode(negatives, tmp_path / "negative")
    negative = LatentSet(tmp_path / "negative")
    ours, theirs = latents.record.config, negative.record.config
    assert replace(theirs, data_sha256=ours.data_sha256) == ours  # the pixels alone differ
    with pytest.raises(UserError, match=" latents "):
        trainer(negative, recipe, tmp_path).resume()
    longer = trainer(latents, changed(recipe, iterations=99), tmp_path)
    longer.resume()
    assert longer.iteration == 1


def test_bad_settings_are_one_line(latents, recipe, tmp_path):
    with pytest.raises(OptionError, match="25"):
        trainer(latents, changed(recipe, batch_size=25), tmp_path)
    with pytest.raises(OptionError, match="'x'"):
        trainer(latents, changed(recipe, size="x"), tmp_path)
    with pytest.raises(UserError, match="'loss' is nan"):
        list(trainer(latents, changed(recipe, lr=float("inf")), tmp_path).run(5))
