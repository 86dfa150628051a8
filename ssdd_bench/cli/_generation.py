"""Helpers of the verbs of generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import torch

    from ssdd_bench.api import Tokenizer
    from ssdd_bench.results.schema import TokenizerRecord


def open_tokenizer(text: str, device: torch.device) -> tuple[Tokenizer, TokenizerRecord]:
    """Load one tokenizer in evaluation mode, with its description.

    Raises:
        UserError: it does not exist or cannot be loaded, or several are named.
    """
    from ssdd_bench.evaluation.measure import describe_tokenizer
    from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer, parse_requests

    requests = parse_requests(text)
    if len(requests) != 1:
        raise click.UsageError(f"'{text}' names {len(requests)} tokenizers: give one")
    tokenizer = load_tokenizer(requests[0], device=device)
    for network in tokenizer.networks().values():
        network.eval()
    record = describe_tokenizer(TOKENIZERS.get(requests[0].id), requests[0], tokenizer)
    return tokenizer, record
