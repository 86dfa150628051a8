"""Autoencoders of diffusers in memory; the tests of the plugin load every class from files."""

import subprocess
import sys

import diffusers
import pytest
import torch

from ssdd_bench.api import LatentSpec
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import OptionError, PluginError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.adapters.diffusers import from_diffusers, is_diffusers_autoencoder

KL = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
}
DC = {
    "attention_head_dim": 8,
    "encoder_block_out_channels": [8, 8, 16],
    "decoder_block_out_channels": [8, 8, 16],
    "encoder_layers_per_block": [1, 1, 1],
    "decoder_layers_per_block": [1, 1, 1],
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
    "latent_channels": 8,
    "encoder_qkv_multiscales": [[], [], []],
    "decoder_qkv_multiscales": [[], [], []],
}
TINY = {
    "encoder_block_out_channels": (8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8),
    "num_encoder_blocks": (1, 1, 1),
    "num_decoder_blocks": (1, 1, 1),
}
HUNYUAN = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 8,
    "block_out_channels": (32, 32, 64),
    "layers_per_block": 1,
    "spatial_compression_ratio": 4,
    "sample_size": 32,
    "scaling_factor": 0.75289,
}
MODELS = {
    "AutoencoderKL": (KL, LatentSpec("continuous", 2, 4)),
    "AutoencoderDC": (DC, LatentSpec("continuous", 4, 8)),
    "AutoencoderTiny": (TINY, LatentSpec("continuous", 4, 4)),
    "AutoencoderKLHunyuanImage": (HUNYUAN, LatentSpec("continuous", 4, 8)),
    "VQModel": ({**KL, "num_vq_embeddings": 32}, LatentSpec("discrete", 2, 1, 5)),
}


def build(name, **changes):
    """Build a random model whose images stay near [0, 1]."""
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**{**MODELS[name][0], **changes})
    if last := getattr(model.decoder, "conv_out", None):
        for parameter in last.parameters():
            parameter.data *= 0.1
    return model


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_memory_keeps_the_contract(name):
    model = build(name).train()
    assert is_diffusers_autoencoder(model)
    tokenizer = from_diffusers(model)
    assert not model.training
    assert tokenizer.latent == MODELS[name][1]
    assert (tokenizer.weights, tokenizer.steps) == ((), None)
    assert check_tokenizer(tokenizer) == []


@torch.no_grad()
def test_latents_are_shifted_and_scaled():
    model = build("AutoencoderKL", scaling_factor=0.5, shift_factor=0.25)
    tokenizer = from_diffusers(model)
    x = torch.rand(2, 3, 16, 16)
    z = model.encode(2 * x - 1).latent_dist.mode()
    latent = tokenizer.encode(x)
    torch.testing.assert_close(latent.data, (z - 0.25) * 0.5)
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, (model.decode(z).sample + 1) / 2)


def test_a_derived_class_is_recognised():
    class Finetuned(diffusers.AutoencoderKL):
        pass

    assert from_diffusers(Finetuned(**KL)).latent.f == 2


@pytest.mark.parametrize("model", [torch.nn.Identity(), object(), "sdxl-vae"])
def test_another_object_is_refused(model):
    assert not is_diffusers_autoencoder(model)
    with pytest.raises(PluginError, match=f"{type(model).__name__}.*from_functions"):
        from_diffusers(model)


def test_a_namesake_from_elsewhere_is_refused():
    class AutoencoderKL(torch.nn.Module):
        pass

    assert not is_diffusers_autoencoder(AutoencoderKL())


def test_steps_belong_to_the_consistency_decoder():
    with pytest.raises(OptionError, match="steps is 2 for AutoencoderKL"):
        from_diffusers(build("AutoencoderKL"), steps=2)


@pytest.mark.slow
def test_diffusers_is_not_imported():
    code = (
        "import sys\n"
        "from ssdd_bench.plugins.adapters.diffusers import is_diffusers_autoencoder\n"
        "assert not is_diffusers_autoencoder(object())\n"
        "sys.exit('diffusers' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
