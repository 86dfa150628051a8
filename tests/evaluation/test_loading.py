"""Whose weights ran: decided by their checksums, not by the name they were asked for."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from ssdd_bench.evaluation.loading import load
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.weights.files import sha256_file

SHIPPED = ("ssdd", "diffusion", "klvae")


def small_vae(folder: Path, **config: object) -> Path:
    """A small random model in the layout of diffusers."""
    torch.manual_seed(0)
    sizes = {"block_out_channels": [8] * 4, "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    }
    AutoencoderKL(**{**sizes, **blocks, **config}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_have_the_checksums_of_the_manifest(name):
    info = TOKENIZERS.get(name)
    for file, expected in info.shipped.sha256.items():
        assert sha256_file(info.folder / "weights" / file) == expected


@pytest.mark.parametrize("name", SHIPPED)
def test_mini_weights_are_noted(name):
    record = load(name).record
    assert record.weights_origin == "shipped"
    assert record.note == TOKENIZERS.get(name).shipped.note


def test_a_copy_of_the_mini_weights_is_still_noted(tmp_path):
    weights = TOKENIZERS.get("ssdd").folder / "weights" / "ssdd-mini-f8c4.safetensors"
    copy = shutil.copy(weights, tmp_path / "renamed.safetensors")
    record = load(f"ssdd:checkpoint={copy}").record
    assert (record.weights_origin, record.note) == ("shipped", TOKENIZERS.get("ssdd").shipped.note)


def test_own_weights_are_not_called_mini(tmp_path):
    record = load(f"klvae:path={small_vae(tmp_path)}").record
    assert (record.weights_origin, record.note) == ("other", "")


def test_other_weights_under_a_published_name_are_marked(tmp_path):
    folder = small_vae(tmp_path, scaling_factor=0.18215)
    record = load(f"sd-vae-ft-mse:path={folder}").record
    assert record.weights_origin == "other"
    assert "other weights" in record.note


def test_published_weights_are_told_by_their_checksum():
    info = TOKENIZERS.get("sd-vae-ft-mse")
    (name, sha256), *_ = info.published.sha256.items()
    assert info.weights_origin({"renamed.safetensors": sha256}) == "published"
    assert info.weights_origin({name: sha256}) == "published"
    assert info.weights_origin({name: "0" * 64}) == "other"
    assert info.weights_origin({"renamed.safetensors": "0" * 64}) == "unverified"
    assert info.note_on("published") == ""
    assert info.note_on("unverified", given=False) == ""
    assert "not compared" in info.note_on("unverified", given=True)


def test_tokenizers_without_weights_have_no_origin():
    record = load("jpeg").record
    assert (record.weights_origin, record.note) == (None, "")


def test_object_in_memory_has_no_origin():
    assert (
        load(AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)).record.weights_origin
        is None
    )
