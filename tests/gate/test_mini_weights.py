"""This project's own gate: its shipped tokenizers give the committed scores."""

import pytest


@pytest.mark.parametrize("tokenizer", ["ssdd", "klvae", "diffusion:steps=2"])
def test_shipped_tokenizers_are_as_good_as_before(ssdd_gate, tokenizer):
    ssdd_gate(tokenizer, f"tests/gate/baseline/{tokenizer.split(':')[0]}", res=64, limit=8)
