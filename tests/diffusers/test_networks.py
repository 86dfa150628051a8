"""Encoders by configuration."""

import pytest
import torch
from tiny_pipelines import make_kl

from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.diffusers.networks import build_encoder, copy_kl_encoder, describe_encoder
from ssdd_bench.errors import OptionError
from ssdd_bench.nn.encoder import SSDDEncoder


@pytest.mark.parametrize("f", [4, 8, 16, 32])
def test_an_encoder_is_built_from_its_description(f):
    encoder = SSDDEncoder(f, 6, base=16)
    described = describe_encoder(encoder)
    assert len(described["block_out_channels"]) == f.bit_length()
    made = build_encoder(tuple(described["block_out_channels"]), 6, None)
    made.load_state_dict(encoder.state_dict())
    assert (made.f, made.z_dim) == (f, 6)


@pytest.mark.parametrize("widths", [(16, 16, 64, 64), (16, 32), (16, 32, 64, 64, 64, 64, 64)])
def test_other_widths_are_refused(widths):
    with pytest.raises(OptionError, match="block_out_channels"):
        build_encoder(widths, 4, None)


def test_the_encoder_of_a_vae_is_copied_with_its_scaling():
    vae = make_kl(8, 16, 16, latent_channels=8, scaling_factor=0.5, shift_factor=0.1)
    encoder, config = copy_kl_encoder(vae)
    assert (config["scaling_factor"], config["shift_factor"]) == (0.5, 0.1)
    assert (config["channel_mean"], config["channel_std"]) == ([], [])
    assert (encoder.f, encoder.z_dim) == (4, 8)
    made = build_encoder(tuple(config["block_out_channels"]), 8, config["kl_encoder"])
    made.load_state_dict(encoder.state_dict())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(made(x).mean, vae.encode(x).latent_dist.mode())
    assert all(p.requires_grad for p in vae.parameters())  # the copy is frozen, not the model
    with pytest.raises(OptionError, match="quant_conv"):
        copy_kl_encoder(make_kl(8, 16, 16, latent_channels=8, use_quant_conv=False))


@pytest.mark.medium
def test_statistics_of_a_vae_are_taken_over():
    """A pipeline applies those of an ``AutoencoderKL`` itself; ours are within the model."""
    mean, std = [0.1 * i for i in range(8)], [1 + 0.5 * i for i in range(8)]
    vae = make_kl(
        8, 16, 16, latent_channels=8, scaling_factor=0.5, latents_mean=mean, latents_std=std
    )
    encoder, config = copy_kl_encoder(vae)
    size = {"decoder_block_out_channels": (32, 32, 32, 32), "decoder_transformer_layers": 1}
    model = AutoencoderSSDD(**config, **size, decoder_attention_heads=1)
    model.encoder.load_state_dict(encoder.state_dict())
    x = torch.randn(1, 3, 16, 16)
    own = vae.encode(x).latent_dist.mode()
    expected = (own - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
    torch.testing.assert_close(model.encode(x).latent_dist.mode(), expected)
