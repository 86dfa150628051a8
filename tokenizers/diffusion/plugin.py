"""Adapter: the shipped weights, or any SSDD checkpoint by path."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.ssdd.load import open_ssdd
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.weights.files import shipped_or_given
from ssdd_bench.weights.shared import find_encoder


def load(
    steps: int, f: int, checkpoint: str, t_pow_shift: float, encoder: str, vae: str
) -> SSDDTokenizer:
    """Load the networks; an empty ``checkpoint`` means the weights shipped here."""
    path = shipped_or_given(Path(__file__).parent, f, checkpoint)
    shared = None if checkpoint or encoder or vae else find_encoder(path)
    return open_ssdd(path, steps, t_pow_shift, shared or encoder, vae)
