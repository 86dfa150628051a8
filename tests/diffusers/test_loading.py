"""Networks from the registry and from checkpoints."""

import json
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import save_file
from sample_images import sample_images
from tiny_pipelines import make_kl

from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.diffusers.loading import from_registry, from_tokenizer
from ssdd_bench.errors import PluginError, UnknownNameError, WeightsError
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.weights.files import shipped_or_given


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
    vae = make_kl(8, 8, 8, 8, scaling_factor=0.25)
    decoder = {f"decoder.{k}": v for k, v in SSDDDecoder("mini", 4).state_dict().items()}
    save_file(decoder, tmp_path / "decoder.safetensors")
    with pytest.raises(WeightsError, match="vae"):
        AutoencoderSSDD.from_single_file(tmp_path / "decoder.safetensors")
    model = AutoencoderSSDD.from_single_file(tmp_path / "decoder.safetensors", vae=vae, steps=2)
    assert (model.config.scaling_factor, model.config.steps) == (0.25, 2)
    model.save_pretrained(tmp_path / "saved")
    again = AutoencoderSSDD.from_pretrained(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.safetensors")
    assert AutoencoderSSDD.from_single_file(file).config.items() <= again.config.items()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        z = again.encode(x).latent_dist.mode()
        assert torch.equal(z, vae.encode(x).latent_dist.mode())
        assert torch.equal(again.decode(z).sample, model.decode(z).sample)


@pytest.mark.medium
def test_an_address_on_the_hub_is_fetched(monkeypatch):
    folder = TOKENIZERS.get("ssdd").folder
    file = shipped_or_given(folder, 8, "")
    asked = []

    def fetch(repo, files, revision, optional):
        asked.append((repo, files, revision, optional))
        return file.parent

    monkeypatch.setattr("ssdd_bench.diffusers.loading.fetch", fetch)
    address = f"https://huggingface.co/owner/name/blob/v1/{file.name}"
    assert AutoencoderSSDD.from_single_file(address).config.steps == 1  # as the card says
    card = file.with_suffix(".json").name
    assert asked == [("owner/name", [file.name], "v1", [card, "config.json"])]


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
    shipped = shipped_or_given(TOKENIZERS.get("ssdd").folder, 8, "")
    files = {file: (shipped.read_bytes())}
    if stage:
        files[file.replace(".safetensors", ".json")] = json.dumps({"stage": stage}).encode()
    hub.add("owner/name", files, "model")
    guess = nullcontext() if stage else pytest.warns(UserWarning, match="decoded in 8 steps")
    with guess:
        model = AutoencoderSSDD.from_single_file(f"https://huggingface.co/owner/name/{end}")
    assert model.config.steps == (1 if stage else 8)


def saved_folder(path, **config):
    """A folder that ``save_pretrained`` wrote, with its weights file."""
    model = AutoencoderSSDD(
        block_out_channels=(8, 16, 32),
        decoder_block_out_channels=(16, 32, 64, 64),
        decoder_transformer_layers=4,
        **config,
    )
    model.save_pretrained(path)
    return model, path / "diffusion_pytorch_model.safetensors"


DECODING = {
    "steps": 3,
    "t_pow_shift": 1.5,
    "noise_seed": 2**31,  # more than its weights have values
    "scaling_factor": 0.5,
    "channel_mean": [1.0, 2.0, 3.0, 4.0],
    "channel_std": [4.0, 3.0, 2.0, 1.0],
}


@pytest.mark.medium
def test_the_file_in_a_saved_folder_is_decoded_as_the_folder(tmp_path):
    model, file = saved_folder(tmp_path, **DECODING)
    again = AutoencoderSSDD.from_single_file(file)
    assert {key: again.config[key] for key in DECODING} == DECODING
    assert torch.equal(again.decoder.conv_in.weight, model.decoder.conv_in.weight)
    assert not again.training
    other = AutoencoderSSDD.from_single_file(file, steps=2, channel_std=[])
    assert (other.config.steps, other.config.channel_std) == (2, [])
    tokenizer = load_tokenizer(f"ssdd:checkpoint={file}")
    assert (tokenizer.steps, tokenizer.warnings) == (3, ())


@pytest.mark.medium
def test_the_file_in_a_saved_folder_on_the_hub(hub, tmp_path):
    saved_folder(tmp_path / "saved", **DECODING)
    files = {f"vae/{file.name}": file.read_bytes() for file in (tmp_path / "saved").iterdir()}
    hub.add("owner/name", files, "model")
    (file,) = (name for name in files if name.endswith(".safetensors"))
    again = AutoencoderSSDD.from_single_file(f"https://huggingface.co/owner/name/blob/main/{file}")
    assert {key: again.config[key] for key in DECODING} == DECODING


@pytest.mark.medium
def test_a_guess_of_steps_is_told_and_a_number_is_none(tmp_path):
    _, file = saved_folder(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.warns(UserWarning, match=f"{file.name} is not known to be distilled"):
        assert AutoencoderSSDD.from_single_file(file).config.steps == 8
    assert AutoencoderSSDD.from_single_file(file, steps=1).config.steps == 1


@pytest.mark.medium
def test_a_card_goes_before_the_configuration_of_another_file(tmp_path):
    _, file = saved_folder(tmp_path, **DECODING)
    file.with_suffix(".json").write_text(json.dumps({"stage": "distil"}))
    model = AutoencoderSSDD.from_single_file(file)
    assert (model.config.steps, model.config.channel_std) == (1, ())


def test_a_missing_file_is_one_line():
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file") as caught:
        AutoencoderSSDD.from_single_file("none.safetensors")
    assert "\n" not in str(caught.value)
