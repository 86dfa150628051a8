"""Networks from the registry and from checkpoints."""

import json
from collections import Counter

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from sample_images import sample_images

from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.diffusers.loading import from_checkpoint, from_registry, from_tokenizer
from ssdd_bench.errors import PluginError, UnknownNameError, WeightsError
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.weights.files import choose_weights


def names():
    return [name for info in TOKENIZERS.all().values() for name in info.mini]


def test_names_are_unique_and_the_nearest_is_named():
    assert Counter(names()).most_common(1)[0][1] == 1
    with pytest.raises(UnknownNameError, match="f8c4"):
        from_registry("f8c5")


@pytest.mark.medium
def test_the_shipped_networks():
    networks = from_registry("f16c4-multistep")
    assert (networks.encoder.f, networks.config["steps"]) == (16, 8)
    assert len(networks.config["block_out_channels"]) == 5


def test_another_tokenizer_is_refused():
    with pytest.raises(PluginError, match="has not SSDD's networks"):
        from_tokenizer(load_tokenizer("jpeg"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f8c4", "f16c4"])
def test_the_statistics_in_the_manifest_are_those_of_the_sample_images(name):
    stated = from_registry(name).config
    model = AutoencoderSSDD.from_mini(name)
    model.standardise(sample_images(256))
    for key in ("channel_mean", "channel_std"):
        torch.testing.assert_close(
            torch.tensor(model.config[key]), torch.tensor(stated[key]), atol=2e-4, rtol=0
        )


@pytest.mark.medium
def test_a_checkpoint_with_a_decoder_only_takes_the_encoder_of_a_vae(tmp_path):
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        norm_num_groups=4,
        scaling_factor=0.25,
    )
    decoder = {f"decoder.{k}": v for k, v in SSDDDecoder("mini", 4).state_dict().items()}
    save_file(decoder, tmp_path / "decoder.safetensors")
    with pytest.raises(WeightsError, match="vae"):
        AutoencoderSSDD.from_single_file(tmp_path / "decoder.safetensors")
    model = AutoencoderSSDD.from_single_file(tmp_path / "decoder.safetensors", vae=vae, steps=2)
    assert (model.config.scaling_factor, model.config.steps) == (0.25, 2)
    model.save_pretrained(tmp_path / "saved")
    again = AutoencoderSSDD.from_pretrained(tmp_path / "saved")
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        z = again.encode(x).latent_dist.mode()
        assert torch.equal(z, vae.encode(x).latent_dist.mode())
        assert torch.equal(again.decode(z).sample, model.decode(z).sample)


@pytest.mark.medium
def test_an_address_on_the_hub_is_fetched(monkeypatch, tmp_path):
    folder = TOKENIZERS.get("ssdd").folder
    file = choose_weights(folder, 8, "")
    asked = []

    def fetch(repo, files, revision, optional):
        asked.append((repo, files, revision, optional))
        return file.parent

    monkeypatch.setattr("ssdd_bench.diffusers.loading.fetch", fetch)
    networks = from_checkpoint(f"https://huggingface.co/owner/name/blob/v1/{file.name}")
    assert networks.config["steps"] == 1  # as the card says
    card = file.with_suffix(".json").name
    assert asked == [("owner/name", [file.name], "v1", [card])]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("end", "file"),
    [
        ("resolve/main/a%20b.safetensors?download=true", "a b.safetensors"),
        ("blob/main/c/d.safetensors", "c/d.safetensors"),
    ],
)
@pytest.mark.parametrize("stage", ["distil", None])
def test_a_card_on_the_hub_tells_the_steps(hub, end, file, stage):
    shipped = choose_weights(TOKENIZERS.get("ssdd").folder, 8, "")
    files = {file: (shipped.read_bytes())}
    if stage:
        files[file.replace(".safetensors", ".json")] = json.dumps({"stage": stage}).encode()
    hub.add("owner/name", files, "model")
    networks = from_checkpoint(f"https://huggingface.co/owner/name/{end}")
    assert networks.config["steps"] == (1 if stage else 8)


def test_a_missing_file_is_one_line():
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file") as caught:
        from_checkpoint("none.safetensors")
    assert "\n" not in str(caught.value)
