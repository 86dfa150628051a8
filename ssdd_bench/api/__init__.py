"""The interface between the evaluation and a tokenizer plugin. Imports no torch."""

from ssdd_bench.api.tokenizer import Latent, LatentKind, LatentSpec, Noise, Tokenizer

__all__ = ["Latent", "LatentKind", "LatentSpec", "Noise", "Tokenizer"]
