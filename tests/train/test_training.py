"""Every stage learns, stops, resumes bit for bit and exports what its tokenizer loads."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ssdd_bench.data.images import open_images
from ssdd_bench.data.source import limited
from ssdd_bench.errors import UnknownNameError, UserError, WeightsError
from ssdd_bench.nn.checkpoint import load_ssdd
from ssdd_bench.nn.ema import EMA
from ssdd_bench.train.checkpoint import load_checkpoint, save_checkpoint
from ssdd_bench.train.crops import CropStream, training_ids
from ssdd_bench.train.diffusion import DiffusionStage
from ssdd_bench.train.klvae import KLVAEStage
from ssdd_bench.train.loop import Trainer, make_optimiser
from ssdd_bench.train.recipe import RECIPES, load_recipe
from ssdd_bench.train.ssdd import DistillationStage

RECIPE = load_recipe("mini")
OPTIMISER = dataclasses.replace(RECIPE.optimiser, batch_size=2, ema_start=6)
DATA = dataclasses.replace(RECIPE.data, resolution=32, min_side=32, max_side=48)


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(10, (64, 48)))


@pytest.fixture(scope="module")
def teacher(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher")
    list(trainer("diffusion", photos, out).run(1))
    return out / "diffusion.safetensors"


def stage(name, teacher=None):
    torch.manual_seed(0)
    if name == "klvae":
        return KLVAEStage(RECIPE.klvae)
    if name == "diffusion":
        return DiffusionStage(RECIPE.diffusion)
    return DistillationStage(dataclasses.replace(RECIPE.ssdd, teacher_steps=2), teacher)


def trainer(name, photos, out, teacher=None, optimiser=OPTIMISER):
    stream = CropStream(photos, DATA, optimiser.batch_size, optimiser.seed)
    return Trainer(stage(name, teacher), optimiser, stream, out, {"recipe": {"name": name}})


@pytest.mark.parametrize("name", ["klvae", "diffusion", "ssdd"])
def test_resumed_run_equals_one_that_was_not_stopped(name, photos, teacher, tmp_path):
    whole = trainer(name, photos, tmp_path / "whole", teacher)
    list(whole.run(10))
    list(trainer(name, photos, tmp_path / "halves", teacher).run(5))
    second = trainer(name, photos, tmp_path / "halves", teacher)
    second.resume()
    assert second.iteration == 5
    list(second.run(10))
    for a, b in (
        (whole.stage.networks.state_dict(), second.stage.networks.state_dict()),
        (whole.averaged_weights(), second.averaged_weights()),
    ):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    start = stage(name, teacher).networks.state_dict()
    assert any(not torch.equal(start[key], value) for key, value in a.items())


@pytest.mark.parametrize("name", ["klvae", "diffusion"])
def test_loss_falls(name, photos, tmp_path):
    run = trainer(name, photos, tmp_path)
    run.stage.networks.train()
    run.optimiser.train()
    images = next(run.stream.batches(0))
    losses = [sum(run.step(images).values()) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_distillation_approaches_the_teacher(photos, teacher, tmp_path):
    run = trainer("ssdd", photos, tmp_path, teacher)
    # A teacher that was hardly trained is already followed by its copy.
    torch.nn.init.normal_(run.stage.student.conv_out.weight, std=0.05)
    run.stage.networks.train()
    run.optimiser.train()
    images = next(run.stream.batches(0))
    encoder_before = {k: v.clone() for k, v in run.stage.encoder.state_dict().items()}
    teacher_before = {k: v.clone() for k, v in run.stage.teacher.state_dict().items()}
    losses = [sum(run.step(images).values()) for _ in range(20)]
    assert max(losses[-5:]) < 0.8 * losses[0]
    for network, before in (
        (run.stage.encoder, encoder_before),
        (run.stage.teacher, teacher_before),
    ):
        assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", ["diffusion", "ssdd"])
def test_exported_file_loads(name, photos, teacher, tmp_path):
    run = trainer(name, photos, tmp_path, teacher)
    list(run.run(1))
    encoder, decoder = load_ssdd(tmp_path / f"{name}.safetensors")
    assert (encoder.f, encoder.z_dim, decoder.z_dim) == (8, 4, 4)
    got = decoder.state_dict()
    for key, value in run.averaged_weights().items():
        if key.startswith("decoder."):
            wanted = value.half().float()
            assert torch.equal(got[key.removeprefix("decoder.")], wanted)


def test_card_says_where_the_weights_come_from(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    list(run.run(2))
    card = json.loads((tmp_path / "klvae.json").read_text())
    assert card["iterations"] == 2
    assert card["images_seen"] == 4
    assert card["config"]["latent_channels"] == 4
    assert {v.dtype for v in load_file(tmp_path / "klvae.safetensors").values()} == {torch.float16}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_writes_a_checkpoint(number, photos, tmp_path, monkeypatch):
    run = trainer("klvae", photos, tmp_path)
    step = run.step

    def interrupted(images):
        signal.raise_signal(number)
        return step(images)

    monkeypatch.setattr(run, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(run.run(10))
    assert load_checkpoint(tmp_path / "checkpoint.pt")["iteration"] == 1


def test_nan_names_the_term_and_keeps_the_last_good_checkpoint(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    list(run.run(2))
    next(iter(run.stage.networks.parameters())).data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"'l1' is nan at iteration 2; .*checkpoint\.pt"):
        list(run.run(4))
    assert load_checkpoint(tmp_path / "checkpoint.pt")["iteration"] == 2


def test_other_recipe_is_not_resumed(photos, tmp_path):
    list(trainer("klvae", photos, tmp_path).run(1))
    other = trainer("klvae", photos, tmp_path)
    other.card = {"recipe": {"name": "other"}}
    with pytest.raises(UserError, match="--restart"):
        other.resume()


def test_damaged_checkpoint(photos, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="is not a checkpoint"):
        trainer("klvae", photos, tmp_path).resume()


def test_killed_while_writing_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"iteration": 1})

    def half(state, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"iteration": 2})
    assert load_checkpoint(path) == {"iteration": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_crops_depend_on_seed_and_number_only(photos):
    streams = [CropStream(photos, DATA, size, seed=3) for size in (2, 4)]
    four = next(streams[1].batches(1))
    batches = streams[0].batches(2)
    assert torch.equal(four, torch.cat([next(batches), next(batches)]))
    assert not torch.equal(four, next(CropStream(photos, DATA, 4, seed=4).batches(1)))
    assert four.min() >= -1
    assert four.max() <= 1


def test_one_epoch_sees_every_training_photo_once(photos, monkeypatch):
    stream = CropStream(photos, DATA, 1, seed=0)
    seen = []
    read = photos.read
    monkeypatch.setattr(photos, "read", lambda name: (seen.append(name), read(name))[1])
    for n in range(len(stream.ids)):
        stream.crop(n)
    assert sorted(seen) == sorted(stream.ids)


def test_held_out_photos_are_those_that_a_limited_run_scores(photos):
    ids = training_ids(photos, 0.3)
    assert set(limited(photos, 3).ids) == set(photos.ids) - set(ids)
    assert training_ids(photos, 0.0) == photos.ids


def test_decay_spares_biases_and_position_tables():
    made = stage("diffusion")
    names = {id(parameter): name for name, parameter in made.networks.named_parameters()}
    decayed, free = make_optimiser(made.networks, OPTIMISER, 1e-3).param_groups
    assert {names[id(p)].rsplit(".", 1)[1] for p in decayed["params"]} == {"weight"}
    assert {names[id(p)].rsplit(".", 1)[1] for p in free["params"]} == {
        "bias",
        "relative_bias_table",
    }
    assert decayed["weight_decay"] == RECIPE.optimiser.weight_decay
    assert free["weight_decay"] == 0


def test_ema_copies_then_averages():
    ema = EMA(decay=0.999, start=3)
    for iteration, value in enumerate([1.0, 2.0, 5.0, 9.0], start=1):
        ema.update({"w": torch.tensor(value)}, iteration)
    # at 3: decay (1+0)/(10+0) = 0.1 of the copy 2.0; at 4: (1+1)/(10+1) = 2/11
    at_three = 0.1 * 2.0 + 0.9 * 5.0
    assert ema.weights["w"].item() == pytest.approx(2 / 11 * at_three + 9 / 11 * 9.0)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_complete(path):
    assert load_recipe(path.stem).name == path.stem


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text + "\n[extra]\n", r"unknown table \[extra\]"),
        (
            lambda text: text.replace("lr =", "learning_rate =", 1),
            "unknown key 'klvae.learning_rate'",
        ),
        (lambda text: text.replace("clip = 1.0\n", ""), "missing key 'optimiser.clip'"),
        (lambda text: text.replace("bf16 = true", "bf16 = 1"), "'optimiser.bf16' must be bool"),
        (lambda text: "[data", "recipe"),
    ],
)
def test_wrong_recipe(tmp_path, edit, message):
    path = tmp_path / "mine.toml"
    path.write_text(edit((RECIPES / "mini.toml").read_text()))
    with pytest.raises(UserError, match=message):
        load_recipe(str(path))


def test_unknown_recipe():
    with pytest.raises(UnknownNameError, match="did you mean mini"):
        load_recipe("mimi")
