"""Adapter: the shipped weights, or any SSDD checkpoint by path."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.ssdd.checkpoints import load_encoder
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.weights.files import choose_weights
from ssdd_bench.weights.shared import find_encoder


def load(steps: int, f: int, checkpoint: str, t_pow_shift: float) -> SSDDTokenizer:
    """Load the networks; an empty ``checkpoint`` means the weights shipped here."""
    path = choose_weights(Path(__file__).parent, f, checkpoint)
    shared = None if checkpoint else find_encoder(path)
    if shared is None:
        return SSDDTokenizer(path, steps, t_pow_shift)
    made = SSDDTokenizer(path, steps, t_pow_shift, load_encoder(shared))
    made.weights = (path, shared)
    return made
