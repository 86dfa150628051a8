"""Training a DiT: it learns, stops, resumes bit for bit, and says what it was trained on."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ssdd_bench.data.latents import LatentSet
from ssdd_bench.errors import OptionError, UnknownNameError, UserError, WeightsError
from ssdd_bench.nn.dit import SIZES
from ssdd_bench.train.dit_recipe import RECIPES, load_dit_recipe
from ssdd_bench.train.latent_model import load_generator, read_card, shipped_for
from ssdd_bench.train.stages.dit import DiTTrainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("objective", ["flow", "ddpm"])
def test_resumed_run_equals_one_that_was_not_stopped(latents, recipe, objective, tmp_path):
    recipe = replace(recipe, objective=objective)
    whole = DiTTrainer(latents, recipe, tmp_path / "whole", CPU)
    list(whole.run(8))  # more than one epoch of 24 images
    list(DiTTrainer(latents, recipe, tmp_path / "halves", CPU).run(3))
    half = DiTTrainer(latents, recipe, tmp_path / "halves", CPU)
    half.resume()
    assert half.iteration == 3
    torch.rand(7)  # what others draw changes nothing
    list(half.run(8))
    for name, value in whole.network.state_dict().items():
        assert torch.equal(half.network.state_dict()[name], value), name
        assert torch.equal(half.ema.weights[name], whole.ema.weights[name]), name
    files = [load_file(tmp_path / name / "dit.safetensors") for name in ("whole", "halves")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_a_finished_run_is_left_alone_and_one_that_lost_its_weights_is_not(
    latents, recipe, tmp_path
):
    list(DiTTrainer(latents, recipe, tmp_path, CPU, "first").run(2))
    path, card = tmp_path / "dit.safetensors", tmp_path / "dit.json"
    weights = path.read_bytes()
    for lost, command in ((None, "second"), (card, "third"), (path, "fourth")):
        if lost:
            lost.unlink()
        trainer = DiTTrainer(latents, recipe, tmp_path, CPU, command)
        trainer.resume()
        assert list(trainer.run(2)) == []
        assert read_card(card).training["command"] == (command if lost else "first")
        assert path.read_bytes() == weights
    list(trainer.run(3))
    assert read_card(card).training["iterations"] == 3

    list(DiTTrainer(latents, replace(recipe, seed=1), tmp_path, CPU, "anew").run(3))  # --restart
    assert read_card(card).training["command"] == "anew"


def test_it_learns(latents, recipe, tmp_path):
    trainer = DiTTrainer(latents, replace(recipe, batch_size=24), tmp_path, CPU)
    states = list(trainer.run(150))
    losses = [state.loss for state in states]
    assert losses[-1] < 0.75 * losses[0]
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["iteration"] == 150


def test_batches_go_through_every_image_once_an_epoch(latents, recipe, tmp_path):
    trainer = DiTTrainer(latents, replace(recipe, batch_size=6), tmp_path, CPU)
    counts = sum(trainer._batch(i)[1].sum().item() for i in range(4))
    assert counts == latents.labels.sum()
    first = torch.cat([trainer._batch(i)[0] for i in range(4)])
    assert first.mean((0, 2, 3)).abs().max() < 0.05
    assert first.std((0, 2, 3)).sub(1).abs().max() < 0.05


def test_a_checkpoint_of_other_settings_or_latents_is_refused(
    photos, latents, encode, recipe, tmp_path
):
    list(DiTTrainer(latents, recipe, tmp_path, CPU).run(1))
    with pytest.raises(UserError, match="another recipe or from other latents"):
        DiTTrainer(latents, replace(recipe, lr=1e-3), tmp_path, CPU).resume()
    encode(photos, tmp_path / "other", flips=False)
    with pytest.raises(UserError, match="another recipe or from other latents"):
        DiTTrainer(LatentSet(tmp_path / "other"), recipe, tmp_path, CPU).resume()
    longer = DiTTrainer(latents, replace(recipe, iterations=99), tmp_path, CPU)
    longer.resume()
    assert longer.iteration == 1
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="no checkpoint of a DiT"):
        DiTTrainer(latents, recipe, tmp_path, CPU).resume()


def test_bad_settings_are_one_line(latents, recipe, tmp_path):
    with pytest.raises(OptionError, match="a batch of 25 from 24 images"):
        DiTTrainer(latents, replace(recipe, batch_size=25), tmp_path, CPU)
    with pytest.raises(OptionError, match="no DiT of size 'x'"):
        DiTTrainer(latents, replace(recipe, size="x"), tmp_path, CPU)
    with pytest.raises(UserError, match="take a smaller lr"):
        list(DiTTrainer(latents, replace(recipe, lr=float("inf")), tmp_path, CPU).run(5))


def test_recipes_that_come_along_are_whole_and_errors_name_the_key(tmp_path):
    for path in RECIPES.glob("*.toml"):
        assert load_dit_recipe(path.stem).size in SIZES
    with pytest.raises(UnknownNameError, match="did you mean nano"):
        load_dit_recipe("nani")
    path = tmp_path / "mine.toml"
    path.write_text((RECIPES / "nano.toml").read_text().replace("warmup", "warm"))
    with pytest.raises(UserError, match="unknown key 'warm'"):
        load_dit_recipe(str(path))
    with pytest.raises(UserError, match="No such file"):
        load_dit_recipe(str(tmp_path / "nowhere.toml"))


def test_the_card_tells_what_samples_need(latents, trained):
    generator = load_generator(trained)
    assert generator.card.statistics == latents.record.statistics
    assert generator.card.classes == ("cat", "dog")
    assert generator.card.resolution == 16
    assert generator.card.training["iterations"] == 6
    with pytest.raises(WeightsError, match="no network of latents comes with the package"):
        shipped_for(generator.card.encoder_sha256)


def test_a_shipped_network_is_found_by_the_encoder(trained, monkeypatch):
    monkeypatch.setattr("ssdd_bench.train.latent_model.SHIPPED", trained.parent)
    assert shipped_for(read_card(trained.with_suffix(".json")).encoder_sha256) == trained


def test_a_card_without_statistics_or_with_other_classes_is_refused(trained, tmp_path):
    card = json.loads(trained.with_suffix(".json").read_text())
    path = tmp_path / "dit.json"

    def refused(**changes):
        path.write_text(json.dumps({**card, **changes}))
        with pytest.raises(UserError) as caught:
            read_card(path)
        return str(caught.value)

    assert "no statistics of the latents" in refused(statistics=None)
    assert "statistics of 1 channels for latents of 3" in refused(
        statistics={"mean": [0.0], "std": [1.0]}
    )
    assert "3 class names for a network of 2 classes" in refused(classes=["a", "b", "c"])


def test_a_published_checkpoint_needs_to_be_told_what_it_predicts(trained, tmp_path):
    network = load_generator(trained).network
    torch.save(network.state_dict(), tmp_path / "published.pt")
    with pytest.raises(OptionError, match="give --objective ddpm for DiT or flow for SiT"):
        load_generator(tmp_path / "published.pt")
    with pytest.raises(OptionError, match="latents of 3 channels: give --f"):
        load_generator(tmp_path / "published.pt", "flow")
    generator = load_generator(tmp_path / "published.pt", "flow", f=4)
    assert generator.card.statistics.std == (1.0, 1.0, 1.0)
    assert generator.card.config.classes == 2
