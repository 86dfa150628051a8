"""Adapter: the shipped weights, or any SSDD checkpoint by path."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.nn.tokenizer import SSDDTokenizer

WEIGHTS = Path(__file__).parent / "weights" / "diffusion-mini-f8c4.safetensors"


def load(steps: int, checkpoint: str, t_pow_shift: float) -> SSDDTokenizer:
    """Load the networks; an empty ``checkpoint`` means the weights shipped here."""
    path = Path(checkpoint).expanduser() if checkpoint else WEIGHTS
    return SSDDTokenizer(path, steps, t_pow_shift)
