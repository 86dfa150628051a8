"""Models of diffusers: a configuration that does not belong to its file is refused at once."""

import inspect
import json

import diffusers
import pytest
from diffusers import AutoencoderKL

from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.diffusers import CLASSES
from ssdd_bench.weights.layout import CONFIG, WEIGHTS
from ssdd_bench.weights.models import LAYERS, SIZELESS, build_model, load_model


def test_brackets_in_brackets_are_damage(tmp_path):
    (tmp_path / CONFIG).write_text("[" * 200_000)
    with pytest.raises(WeightsError, match="damaged JSON"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"layers_per_block": 10**9},
        {"block_out_channels": [10**12]},
        {"kl_encoder": {"layers_per_block": 10**9}},
        {"num_res_blocks": 10**4},
    ],
)
def test_a_model_far_larger_than_its_file_is_not_built(tmp_path, change):
    AutoencoderKL(block_out_channels=[8], norm_num_groups=4).save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    config = json.loads((tmp_path / "config.json").read_text()) | change
    with pytest.raises(WeightsError, match="more than its"):
        build_model(config, [file])


def test_an_entry_with_a_word_for_seeds_in_its_name_is_compared_too(tmp_path):
    AutoencoderKL(block_out_channels=[8], norm_num_groups=4).save_pretrained(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text()) | {"seeded_channels": 10**12}
    with pytest.raises(WeightsError, match="seeded_channels"):
        build_model(config, [tmp_path / WEIGHTS])


def test_layers_are_entries_of_classes_with_an_adapter():
    kinds = [getattr(diffusers, name, AutoencoderSSDD) for name in CLASSES]
    known = {name for kind in kinds for name in inspect.signature(kind.__init__).parameters}
    assert known >= LAYERS | SIZELESS
    assert {name for name in known if "layers" in name or "seed" in name} <= LAYERS | SIZELESS
