"""Autoencoders of diffusers in memory; the tests of the plugin load every class from files."""

import math
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import torch

import ssdd_bench
from ssdd_bench.api import LatentSpec
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.diffusers.networks import copy_kl_encoder
from ssdd_bench.errors import OptionError, PluginError, UserError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.adapters.autoencoder import FrameAutoencoder
from ssdd_bench.plugins.adapters.diffusers import (
    CLASSES,
    from_diffusers,
    is_diffusers_autoencoder,
)

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
HUNYUAN_VIDEO = {
    "latent_channels": 4,
    "block_out_channels": (8, 8, 8, 8),
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "mid_block_add_attention": False,
}
HUNYUAN_VIDEO_15 = {
    "latent_channels": 4,
    "block_out_channels": (8, 8, 8),
    "layers_per_block": 1,
    "spatial_compression_ratio": 4,
    "temporal_compression_ratio": 2,
}
COGVIDEO = {
    "latent_channels": 4,
    "block_out_channels": (8, 8, 8, 8),
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
STATISTICS = {"latents_mean": [0.5, -1.0, 2.0, 0.0], "latents_std": [2.0, 0.5, 1.0, 4.0]}
WAN = {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True],
    **STATISTICS,
}
# As the one of Wan 2.2: patches of 2 x 2 pixels and residual blocks.
WAN_22 = {
    **WAN,
    "dim_mult": [1, 1, 1],
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "is_residual": True,
    "scale_factor_spatial": 8,
}
QWEN_21 = {
    "base_dim": 8,
    "decoder_base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True],
    **STATISTICS,
}
ASYMMETRIC = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "down_block_out_channels": [8, 8],
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "up_block_out_channels": [8, 16],
    "norm_num_groups": 4,
}
RAE = {
    "encoder_hidden_size": 768,
    "encoder_num_hidden_layers": 1,
    "decoder_hidden_size": 32,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
    "encoder_input_size": 28,
    "patch_size": 16,
    "image_size": 32,
}
CONSISTENCY = {
    "encoder_block_out_channels": [8, 8],
    "encoder_down_block_types": ["DownEncoderBlock2D"] * 2,
    "encoder_layers_per_block": 1,
    "encoder_norm_num_groups": 4,
    "decoder_block_out_channels": [32, 32],
    "decoder_down_block_types": ["ResnetDownsampleBlock2D"] * 2,
    "decoder_up_block_types": ["ResnetUpsampleBlock2D"] * 2,
    "decoder_layers_per_block": 1,
}
KVAE = {
    "channels": 32,
    "num_enc_blocks": 1,
    "num_dec_blocks": 1,
    "z_channels": 4,
    "ch_mult": (1, 1),
}
MODELS = {
    "AsymmetricAutoencoderKL": (ASYMMETRIC, LatentSpec("continuous", 2, 4)),
    "AutoencoderKL": (KL, LatentSpec("continuous", 2, 4)),
    "AutoencoderDC": (DC, LatentSpec("continuous", 4, 8)),
    "AutoencoderKLCogVideoX": (COGVIDEO, LatentSpec("continuous", 8, 4)),
    "AutoencoderKLFlux2": ({**KL, "latent_channels": 4}, LatentSpec("continuous", 2, 4)),
    "AutoencoderKLHunyuanImage": (HUNYUAN, LatentSpec("continuous", 4, 8)),
    "AutoencoderKLHunyuanVideo": (HUNYUAN_VIDEO, LatentSpec("continuous", 8, 4)),
    "AutoencoderKLHunyuanVideo15": (HUNYUAN_VIDEO_15, LatentSpec("continuous", 4, 4)),
    "AutoencoderKLKVAE": (KVAE, LatentSpec("continuous", 2, 4)),
    "AutoencoderKLQwenImage": (WAN, LatentSpec("continuous", 4, 4)),
    "AutoencoderKLQwenImage21": (QWEN_21, LatentSpec("continuous", 4, 4)),
    "AutoencoderKLWan": ({**WAN, "scale_factor_spatial": 4}, LatentSpec("continuous", 4, 4)),
    "AutoencoderRAE": (RAE, LatentSpec("continuous", 16, 768)),
    "AutoencoderTiny": (TINY, LatentSpec("continuous", 4, 4)),
    "ConsistencyDecoderVAE": (CONSISTENCY, LatentSpec("continuous", 2, 4)),
    "VQModel": ({**KL, "num_vq_embeddings": 32}, LatentSpec("discrete", 2, 1, 5)),
}


SIDE = 32


def pictures(count):
    """Return smooth random images (count, 3, SIDE, SIDE) in [0, 1]."""
    small = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(small, SIDE, mode="bilinear")


def build(name, **changes):
    """Build a random model whose images stay near [0, 1]."""
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**{**MODELS[name][0], **changes})
    if hasattr(model, "bn"):
        model.bn.running_mean.uniform_(-1, 1)
        model.bn.running_var.uniform_(0.5, 2)
    if last := getattr(getattr(model, "decoder", None), "conv_out", None):
        for parameter in last.parameters():
            parameter.data *= 0.1
    return model


def test_every_class_has_a_small_model():
    theirs = set(CLASSES) - {"AutoencoderSSDD"}  # which tests/diffusers evaluates
    assert set(MODELS) == theirs
    assert theirs <= set(dir(diffusers))  # which imports none of them


QUICK = {"AutoencoderKL", "AutoencoderKLWan", "VQModel"}  # a class of each kind


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in MODELS]
)
def test_a_model_in_memory_keeps_the_contract(name):
    model = build(name).train()
    assert is_diffusers_autoencoder(model)
    tokenizer = from_diffusers(model)
    assert not model.training
    assert tokenizer.latent == MODELS[name][1]
    steps = 2 if name == "ConsistencyDecoderVAE" else None
    assert (tokenizer.weights, tokenizer.steps) == ((), steps)
    assert check_tokenizer(tokenizer, SIDE) == []


@pytest.mark.medium
@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_memory_is_evaluated_as_its_own_methods_say(name):
    model, images = build(name), (255 * pictures(3)).round().byte()
    found = ssdd_bench.evaluate(
        model, data=images, resolution=SIDE, metrics="psnr", device="cpu", progress=False
    )
    assert found.latent.shape == MODELS[name][1].shape(SIDE, SIDE)
    if name == "ConsistencyDecoderVAE":  # whose noise is the image's own
        assert found.metrics["psnr"].value > 3
        return
    psnr = []
    with torch.no_grad():
        for x in images[:, None] / 255:
            decoded = decode(name, model, encode(name, model, x))
            error = (255 * decoded.clamp(0, 1)).round() / 255 - x
            psnr.append(-10 * error.square().mean().log10().item())
    assert found.metrics["psnr"].value == pytest.approx(sum(psnr) / len(psnr), abs=1e-3)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["AutoencoderKL", "AutoencoderRAE"])
def test_networks_in_half_precision_leave_latents_and_images_in_float32(name):
    tokenizer = from_diffusers(build(name))
    codes = tokenizer.encode(pictures(1)).data
    latent = tokenizer.to("cpu", torch.bfloat16).encode(pictures(1))
    assert (latent.data.dtype, latent.data.equal(codes)) == (torch.float32, False)
    assert tokenizer.decode(latent, KeyedNoise(0, "a", "decode")).dtype == torch.float32


def encode(name, model, x):
    """Encode images in [0, 1] by the methods of diffusers alone."""
    signed = x if name == "AutoencoderRAE" else 2 * x - 1
    if name == "AutoencoderKLQwenImage21":  # which has an alpha channel
        signed = torch.cat([signed, torch.ones_like(signed[:, :1])], dim=1)
    out = model.encode(signed[:, :, None] if is_video(name) else signed)
    return out.latent_dist.mode() if "latent_dist" in out else out[0]


def decode(name, model, z):
    """Decode what :func:`encode` gave."""
    decoded = model.decode(z).sample
    decoded = (decoded[:, :, 0] if is_video(name) else decoded)[:, :3]
    return decoded if name == "AutoencoderRAE" else (decoded + 1) / 2


def is_video(name):
    return issubclass(CLASSES[name].adapter, FrameAutoencoder)


FACTORS = {"scaling_factor": 0.5}
SCALES = [
    ("AutoencoderKL", FACTORS | {"shift_factor": 0.25}, (0.25, 0.5)),
    ("AutoencoderKL", FACTORS | STATISTICS, None),
    ("AsymmetricAutoencoderKL", FACTORS, (0, 0.5)),
    ("AutoencoderDC", FACTORS, (0, 0.5)),
    ("AutoencoderTiny", FACTORS, (0, 0.5)),
    ("AutoencoderKLCogVideoX", FACTORS, (0, 0.5)),
    ("AutoencoderKLHunyuanImage", FACTORS, (0, 0.5)),
    ("AutoencoderKLHunyuanVideo", FACTORS, (0, 0.5)),
    ("AutoencoderKLHunyuanVideo15", FACTORS, (0, 0.5)),
    ("AutoencoderKLKVAE", {}, (0, 1)),
    ("AutoencoderKLQwenImage", {}, None),
    ("AutoencoderKLQwenImage21", {}, None),
    ("AutoencoderKLWan", {}, None),
]


@torch.no_grad()
@pytest.mark.parametrize(("name", "changes", "factors"), SCALES)
def test_latents_are_shifted_and_scaled(name, changes, factors):
    """Factors are a shift and a scale; None stands for STATISTICS per channel."""
    model = build(name, **changes)
    tokenizer, x = from_diffusers(model), pictures(2)
    raw = encode(name, model, x)
    z = raw.reshape(2, *tokenizer.latent.shape(SIDE, SIDE))
    if factors:
        expected = (z - factors[0]) * factors[1]
    else:
        mean, std = (torch.tensor(one).view(1, 4, 1, 1) for one in STATISTICS.values())
        expected = (z - mean) * changes.get("scaling_factor", 1) / std
    latent = tokenizer.encode(x)
    torch.testing.assert_close(latent.data, expected)
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, decode(name, model, raw), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"scaling_factor": factor} for factor in (0, math.nan, math.inf, "1")),
        {"shift_factor": math.inf},
        STATISTICS | {"latents_mean": [0.0] * 3},
        STATISTICS | {"latents_std": [1.0] * 5},
        STATISTICS | {"latents_std": [1.0, 1.0, 0.0, 1.0]},
        {"latents_std": [1.0] * 4},
    ],
    ids=str,
)
def test_normalisation_that_is_not_possible_is_refused(wrong):
    with pytest.raises(UserError, match=r"scaling_factor|shift_factor|latents_") as caught:
        from_diffusers(build("AutoencoderKL", **wrong))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.tensor, np.array, lambda v: torch.tensor(v)[None, :, None]])
def test_statistics_may_be_tensors_and_arrays(kind):
    made = {name: kind(values) for name, values in STATISTICS.items()}
    model = build("AutoencoderKL", scaling_factor=torch.tensor(0.5), **made)
    expected = from_diffusers(build("AutoencoderKL", scaling_factor=0.5, **STATISTICS))
    assert from_diffusers(model).info() == expected.info()
    copied = copy_kl_encoder(model)[1]
    assert copied["channel_std"] == STATISTICS["latents_std"]
    assert copied["scaling_factor"] == 0.5


@torch.no_grad()
def test_factors_of_none_leave_latents_as_they_are():
    model = build("AutoencoderKL", scaling_factor=None, shift_factor=None)
    x = pictures(1)
    expected = model.encode(2 * x - 1).latent_dist.mean
    assert torch.equal(from_diffusers(model).encode(x).data, expected)


@pytest.mark.medium
@torch.no_grad()
def test_patches_of_wan_22():
    model = diffusers.AutoencoderKLWan(**WAN_22)
    tokenizer = from_diffusers(model)
    assert tokenizer.latent == LatentSpec("continuous", 8, 4)
    assert check_tokenizer(tokenizer, SIDE) == []


@torch.no_grad()
def test_a_posterior_of_frames_is_sampled_with_the_noise_of_each_image():
    model = build("AutoencoderKLWan")
    tokenizer, x = from_diffusers(model), pictures(1)
    posterior = model.encode(2 * x[:, :, None] - 1).latent_dist
    noise = KeyedNoise(0, "a", "encode").normal((4, SIDE // 4, SIDE // 4))
    mean, std = (torch.tensor(one).view(1, 4, 1, 1) for one in STATISTICS.values())
    expected = (posterior.mean[:, :, 0] + posterior.std[:, :, 0] * noise - mean) / std
    found = tokenizer.encode(x, KeyedNoise(0, "a", "encode")).data
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


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
