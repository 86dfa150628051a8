"""Weights in eight bits: what is stored, how near it is, and files that cannot be right."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.blocks import BLOCK, SCALES, pack, unpack
from ssdd_bench.weights.files import load_safetensors

WEIGHTS = {
    "decoder.conv.weight": torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(0)),
    "decoder.odd.weight": torch.ones(33, 33),  # 1,089 is no multiple of 32
    "decoder.norm.weight": torch.ones(512),
    "encoder.conv.weight": torch.ones(64, 64).half(),
}


def test_large_tensors_are_whole_numbers_and_scales():
    packed = pack(WEIGHTS, "decoder.")
    name = "decoder.conv.weight"
    assert packed.keys() == WEIGHTS.keys() | {name + SCALES}
    assert packed[name].dtype == torch.int8
    assert packed[name].shape == (16, 8, 3, 3)
    assert packed[name].abs().reshape(-1, BLOCK).amax(1).tolist() == [127] * 36
    assert packed[name + SCALES].dtype == torch.float16
    assert packed[name + SCALES].shape == (36,)
    same = WEIGHTS.keys() - {name}
    assert all(packed[other] is WEIGHTS[other] for other in same)
    assert pack(WEIGHTS)["encoder.conv.weight"].dtype == torch.int8, "without a prefix all are"


def test_each_weight_is_off_by_half_a_step():
    name = "decoder.conv.weight"
    blocks = WEIGHTS[name].reshape(-1, BLOCK)
    found = unpack(pack(WEIGHTS))[name]
    assert found.dtype == torch.float32
    error = (found.reshape(-1, BLOCK) - blocks).abs()
    step = blocks.abs().amax(1, keepdim=True) / 127
    assert (error <= 0.5 * step * 1.1).all()  # a scale of float16 is off by 0.05 %, at 127 steps
    assert error.max() > 0


def test_exact_values():
    values = torch.arange(-16, 16).repeat(32).reshape(32, 32) * 0.25
    packed = pack({"a": values})
    assert packed["a"][0].tolist()[:3] == [-127, -119, -111]
    scale = packed["a" + SCALES][0].item()
    assert scale == torch.tensor(4 / 127).half().item()
    assert unpack(packed)["a"][0, 0].item() == -127 * scale
    small = unpack(pack({"a": torch.full((1024,), 1e-5)}))["a"]
    assert small.tolist() == [2.0**-17] * 1024
    zeros = unpack(pack({"a": torch.zeros(1024)}))["a"]
    assert zeros.tolist() == [0.0] * 1024


def test_packing_again_changes_nothing():
    once = unpack(pack(WEIGHTS))
    again = unpack(pack(once))
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(pack(WEIGHTS, "decoder."), path)
    found = load_safetensors(path)
    assert found.keys() == WEIGHTS.keys()
    assert found["encoder.conv.weight"].dtype == torch.float16
    assert torch.equal(found["decoder.conv.weight"], unpack(pack(WEIGHTS))["decoder.conv.weight"])


@pytest.mark.parametrize(
    "damage",
    [
        {"a" + SCALES: torch.ones(31).half()},
        {"a": torch.ones(1024)},
        {"a": torch.ones(1056, dtype=torch.int8)},
        {"b" + SCALES: torch.ones(32).half()},
    ],
)
def test_scales_that_do_not_fit_are_one_line(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    save_file(pack({"a": torch.ones(1024)}) | damage, path)
    with pytest.raises(WeightsError, match=r"damaged: .*q8_scales are not the scales of int8"):
        load_safetensors(path)
    assert load_file(path)
