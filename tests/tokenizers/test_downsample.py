import pytest
import torch
from torch import Tensor

from ssdd_bench.api import LatentSpec
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.registry import load_tokenizer


def decode(spec: str, images: Tensor) -> tuple[Tensor, Tensor]:
    tokenizer = load_tokenizer(spec)
    latent = tokenizer.encode(images)
    assert isinstance(latent.data, Tensor)
    ids = [str(i) for i in range(len(images))]
    return latent.data, tokenizer.decode(latent, KeyedNoise(0, ids, "decode"))


@pytest.mark.parametrize("options", ["", ":factor=2", ":factor=64"])
def test_contract(options: str) -> None:
    assert check_tokenizer(f"downsample{options}") == []


def test_factor_sets_the_latent() -> None:
    assert load_tokenizer("downsample:factor=4").latent == LatentSpec("discrete", 4, 3, 8)
    latent, decoded = decode("downsample:factor=4", torch.rand(2, 3, 24, 32))
    assert latent.shape == (2, 3, 6, 8)
    assert latent.dtype == torch.uint8
    assert decoded.shape == (2, 3, 24, 32)


def test_flat_colours_are_kept() -> None:
    colour = torch.tensor([10.0, 128.0, 250.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32) / 255
    assert torch.equal(decode("downsample", colour)[1], colour)


def test_detail_finer_than_the_latent_averages_out() -> None:
    """A checkerboard would become black or white without antialiasing, not grey."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = ((x + y) % 2).float().expand(1, 3, 64, 64)
    latent, _ = decode("downsample", board)
    assert (latent.float() - 127.5).abs().max() <= 2
