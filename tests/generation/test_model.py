"""Networks of latents: their cards, those that come along, and published checkpoints."""

import json

import pytest
import torch

from ssdd_bench.errors import OptionError, UserError, WeightsError
from ssdd_bench.generation import model as module
from ssdd_bench.generation.model import load_latent_model, shipped_for
from ssdd_bench.train.files import read_card


def test_the_card_tells_what_samples_need(latents, trained):
    model = load_latent_model(trained, 4)
    assert model.facts.statistics == latents.record.statistics
    assert model.facts.classes == ("cat", "dog")
    assert model.resolution == 16
    assert model.training["iterations"] == 6
    assert load_latent_model(trained.parent, 4).weights == model.weights
    with pytest.raises(WeightsError, match="gen train"):
        shipped_for(model.facts.encoder_sha256)


def test_a_shipped_network_is_found_by_the_encoder(trained, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", trained.parent)
    assert shipped_for(read_card(trained).latents.encoder_sha256) == trained


def test_a_card_that_contradicts_its_network_is_refused(trained, tmp_path):
    card = json.loads(trained.with_suffix(".json").read_text())
    path = tmp_path / "dit.safetensors"
    path.write_bytes(trained.read_bytes())

    def refused(latents):
        path.with_suffix(".json").write_text(json.dumps({**card, "latents": latents}))
        with pytest.raises(UserError) as caught:
            load_latent_model(path, 4)
        return str(caught.value)

    facts = card["latents"]
    assert "'latents' is null" in refused(None)
    assert "latents.statistics" in refused({**facts, "statistics": None})
    one = {"mean": [0.0], "std": [1.0]}
    assert "number (1, 1, 2)" in refused({**facts, "statistics": one})
    assert "number (3, 3, 3)" in refused({**facts, "classes": ["a", "b", "c"]})


@pytest.mark.medium
def test_a_published_checkpoint_needs_its_objective(trained, tmp_path):
    path = tmp_path / "published.pt"
    torch.save(load_latent_model(trained, 4).network.state_dict(), path)
    with pytest.raises(OptionError, match="--objective"):
        load_latent_model(path, 4)
    model = load_latent_model(path, 4, "flow")
    assert model.facts.statistics.std == (1.0, 1.0, 1.0)
    assert model.config.classes == 2
