"""Helpers of the verbs of generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ssdd_bench.api import Tokenizer
    from ssdd_bench.results.schema import TokenizerRecord


def open_tokenizer(text: str, device: torch.device) -> tuple[Tokenizer, TokenizerRecord]:
    """Load one tokenizer in evaluation mode, with its description.

    Raises:
        UserError: it does not exist or cannot be loaded, or several are named.
    """
    from ssdd_bench.evaluation.loading import load

    loaded = load(text, device)
    return loaded.tokenizer, loaded.record
