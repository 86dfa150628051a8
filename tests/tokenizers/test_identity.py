import torch

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.registry import load_tokenizer


def test_contract() -> None:
    assert check_tokenizer("identity") == []


def test_every_level_comes_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 3, 16, 16)
    tokenizer = load_tokenizer("identity")
    latent = tokenizer.encode(levels.float() / 255)
    assert isinstance(latent.data, torch.Tensor)
    assert torch.equal(latent.data, levels)
    decoded = tokenizer.decode(latent, KeyedNoise(0, ["a"], "decode"))
    assert torch.equal(decoded, levels.float() / 255)
