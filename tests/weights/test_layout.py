"""Weights that diffusers saved in one file, in several, as a pickle and as a variant."""

import json

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.utils import hub_utils

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.layout import (
    CONFIG,
    INDEX,
    PICKLE,
    WEIGHTS,
    choose_weights,
    find_weights,
    is_index,
)
from ssdd_bench.weights.models import load_model

FP16 = hub_utils._add_variant(WEIGHTS, "fp16")
FP16_INDEX = hub_utils._add_variant(INDEX, "fp16")
SHARD = "diffusion_pytorch_model-00001-of-00002.safetensors"


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=[8], norm_num_groups=4)


@pytest.fixture
def shards(vae, tmp_path):
    """A folder with a model in several files."""
    vae.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    return tmp_path


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ({}, WEIGHTS),
        ({"model.safetensors"}, WEIGHTS),
        ({WEIGHTS, PICKLE, FP16}, WEIGHTS),
        ({WEIGHTS, INDEX, SHARD}, INDEX),
        ({PICKLE, FP16}, PICKLE),
        ({FP16}, FP16),
        ({FP16_INDEX, FP16, SHARD.replace("-", ".fp16-", 1)}, FP16_INDEX),
    ],
)
def test_the_weights_of_a_folder(names, chosen):
    assert choose_weights({CONFIG, *names}, "folder") == chosen
    assert is_index(chosen) == (chosen in (INDEX, FP16_INDEX))


@pytest.mark.parametrize(
    "names",
    [
        {FP16, hub_utils._add_variant(WEIGHTS, "bf16")},
        {FP16_INDEX, hub_utils._add_variant(WEIGHTS, "bf16")},
        {"diffusion_pytorch_model.bin.index.json"},
        {SHARD},
    ],
)
def test_what_is_ambiguous_or_not_read_is_named(names):
    with pytest.raises(WeightsError, match=f"folder has .*{WEIGHTS}"):
        choose_weights({CONFIG, *names}, "folder")


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_make_the_same_model(vae, tmp_path, variant):
    vae.save_pretrained(tmp_path, max_shard_size="5KB", variant=variant)
    loaded, files = load_model(tmp_path)
    assert sorted(files) == sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    expected = vae.state_dict()
    assert all(torch.equal(one, expected[name]) for name, one in loaded.state_dict().items())


def test_a_variant_alone_is_computed_in_float32(vae, tmp_path):
    expected = {name: one.half().float() for name, one in vae.state_dict().items()}
    vae.half().save_pretrained(tmp_path, variant="fp16")
    loaded, files = load_model(tmp_path)
    assert files == [tmp_path / FP16]
    assert all(torch.equal(one, expected[name]) for name, one in loaded.state_dict().items())


def test_a_missing_shard_is_named(shards):
    last = max(shards.glob("*.safetensors"))
    last.unlink()
    with pytest.raises(WeightsError, match=last.name) as caught:
        load_model(shards)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "places",
    [
        *({"a": name} for name in ("../a.safetensors", "/a.safetensors", "b/a.safetensors")),
        *({"a": name} for name in ("*.safetensors", "a.bin", "..", 5, None, ["a.safetensors"])),
        {},
        ["a.safetensors"],
        None,
    ],
)
def test_an_index_names_files_of_its_folder(tmp_path, places):
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    with pytest.raises(WeightsError, match=INDEX) as caught:
        find_weights(tmp_path)
    assert "\n" not in str(caught.value)
