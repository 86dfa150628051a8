"""The network against diffusers' own, and published layouts from random weights."""

import argparse
import json
import pickle

import pytest
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import save_file

from ssdd_bench.errors import OptionError, WeightsError
from ssdd_bench.nn.blocks import time_features
from ssdd_bench.nn.dit import SIZES, DiT, DiTConfig, load_dit, make_config

SMALL = DiTConfig(depth=2, width=128, heads=2, patch=2, side=8, channels=4, classes=5, doubled=True)


def random_network(config):
    torch.manual_seed(0)
    network = DiT(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return network


def inputs(config, n=3):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, config.channels, config.side, config.side, generator=generator)
    return x, torch.tensor([0.0, 250.0, 999.0][:n]), torch.arange(n)


@pytest.fixture(scope="module")
def theirs():
    """Diffusers' network with random weights; its frequencies set to those of the paper's code."""
    torch.manual_seed(3)
    model = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=64,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=5,
        norm_eps=1e-6,
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    first = model.transformer_blocks[0].norm1.emb
    for block in model.transformer_blocks:
        block.norm1.emb.load_state_dict(first.state_dict())
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    return model


def test_forward_equals_diffusers_from_a_file_in_its_layout(theirs, tmp_path):
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    with pytest.raises(WeightsError, match=r"needs the config\.json"):
        load_dit(path)
    (tmp_path / "config.json").write_text(json.dumps({"sample_size": 8}))
    network = load_dit(path)
    assert network.config == SMALL
    x, times, labels = inputs(SMALL)
    with torch.no_grad():
        expected = theirs(x, times, labels).sample
        found = network(x, times, labels)
        assert found.std() > 0.1
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        # The comparison sees a wrong order of shift and scale, and of sines and cosines.
        block = network.blocks[0].adaLN_modulation[1]
        block.weight.copy_(block.weight.roll(SMALL.width, 0))
        assert (network(x, times, labels) - expected).abs().max() > 1e-2


def test_published_layout_of_xl_2():
    config = DiTConfig(*SIZES["XL"], 2, 32, 4, 1000, doubled=True)
    with torch.device("meta"):
        state = DiT(config).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    expected = {
        "pos_embed": (1, 256, 1152),
        "x_embedder.proj.weight": (1152, 4, 2, 2),
        "x_embedder.proj.bias": (1152,),
        "t_embedder.mlp.0.weight": (1152, 256),
        "t_embedder.mlp.0.bias": (1152,),
        "t_embedder.mlp.2.weight": (1152, 1152),
        "t_embedder.mlp.2.bias": (1152,),
        "y_embedder.embedding_table.weight": (1001, 1152),
        "final_layer.linear.weight": (32, 1152),
        "final_layer.linear.bias": (32,),
        "final_layer.adaLN_modulation.1.weight": (2304, 1152),
        "final_layer.adaLN_modulation.1.bias": (2304,),
    }
    for i in range(28):
        expected |= {
            f"blocks.{i}.attn.qkv.weight": (3456, 1152),
            f"blocks.{i}.attn.qkv.bias": (3456,),
            f"blocks.{i}.attn.proj.weight": (1152, 1152),
            f"blocks.{i}.attn.proj.bias": (1152,),
            f"blocks.{i}.mlp.fc1.weight": (4608, 1152),
            f"blocks.{i}.mlp.fc1.bias": (4608,),
            f"blocks.{i}.mlp.fc2.weight": (1152, 4608),
            f"blocks.{i}.mlp.fc2.bias": (1152,),
            f"blocks.{i}.adaLN_modulation.1.weight": (6912, 1152),
            f"blocks.{i}.adaLN_modulation.1.bias": (6912,),
        }
    assert shapes == expected
    assert config.name == "DiT-XL/2"


@pytest.mark.parametrize("kind", ["plain", "training", "safetensors"])
def test_checkpoints_load_whatever_they_are_wrapped_in(kind, tmp_path):
    network = random_network(SMALL)
    path = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pt")
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "plain":
        torch.save(state, path)
    else:
        wrong = {name: torch.zeros_like(value) for name, value in state.items()}
        torch.save({"model": wrong, "ema": state, "args": argparse.Namespace(lr=1e-4)}, path)
    x, times, labels = inputs(SMALL)
    with torch.no_grad():
        assert torch.equal(load_dit(path)(x, times, labels), network(x, times, labels))


def test_what_is_no_dit_is_one_line_and_runs_no_code(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps({"model": Harmful()}))
    with pytest.raises(WeightsError, match="not a file of tensors"):
        load_dit(path)
    assert not (tmp_path / "executed").exists()
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="not a DiT or SiT checkpoint"):
        load_dit(path)
    state = random_network(SMALL).state_dict()
    del state["blocks.1.mlp.fc1.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"1 missing: blocks\.1\.mlp\.fc1\.bias"):
        load_dit(path)
    with pytest.raises(WeightsError, match="no such file"):
        load_dit(tmp_path / "nowhere.pt")


def test_a_new_network_predicts_zero_and_hears_label_and_time_after_training():
    x, times, labels = inputs(SMALL)
    with torch.no_grad():
        assert not DiT(SMALL)(x, times, labels).any()
        network = random_network(SMALL)
        base = network(x, times, labels)
        assert not torch.allclose(base, network(x, times, labels + 1), atol=1e-3)
        assert not torch.allclose(base, network(x, times + 30, labels), atol=1e-3)


def test_times_from_0_to_1_are_told_apart():
    features = time_features(torch.tensor([0.1, 0.11]), 256)
    assert (features[0] - features[1]).abs().max() > 5e-3
    assert features[0, 0] == pytest.approx(0.995004, abs=1e-6)  # cos(0.1)


def test_sizes_and_patches_that_do_not_fit():
    with pytest.raises(OptionError, match="'huge': use one of nano, S"):
        make_config("huge", 2, 8, 4, 10)
    with pytest.raises(OptionError, match="patch 2 does not fit a latent of 7 x 7 cells"):
        make_config("S", 2, 7, 4, 10)
