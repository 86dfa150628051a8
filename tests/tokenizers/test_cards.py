"""The cards beside the shipped weights."""

import json

import pytest

from ssdd_bench.registry import find_tokenizers
from ssdd_bench.weights import load_safetensors

MINI = ("klvae", "diffusion", "ssdd")


@pytest.mark.parametrize("name", MINI)
def test_card_tells_the_training_and_the_scores_on_unseen_photographs(name):
    folder = find_tokenizers()[name].folder / "weights"
    (card,) = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    assert card["command"].startswith(f"ssdd-bench train {name} ")
    assert card["seconds"] > 0
    assert card["images_seen"] == card["iterations"] * card["recipe"]["optimiser"]["batch_size"]
    scores = card["scores"]
    assert scores["command"].startswith(f"ssdd-bench run --tokenizers {name} ")
    assert scores["n"] == card["data"]["images"] - card["data"]["trained_on"]
    assert scores["psnr"] > 18


def test_weights_are_small_and_in_half_precision():
    for name in MINI:
        (path,) = (find_tokenizers()[name].folder / "weights").glob("*.safetensors")
        assert path.stat().st_size < 8_000_000
        assert {str(tensor.dtype) for tensor in load_safetensors(path).values()} == {
            "torch.float16"
        }
