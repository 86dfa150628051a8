"""Training state to resume from, and trained weights as safetensors files with their cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.errors import WeightsError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.train.card import Card, save_card


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; a killed process leaves the previous file whole."""
    write_atomically(path, lambda target: torch.save(state, target))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state to the CPU: tensors and plain values only, no code is run.

    Raises:
        WeightsError: the file is damaged or no training state.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise WeightsError(
            f"{path}: damaged or no training state ({error}): delete it to start again"
        ) from error
    return state


def save_weights(path: Path, weights: Mapping[str, Tensor], card: Card | None = None) -> None:
    """Write tensors, and a card beside them."""
    ready = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, lambda target: save_file(ready, target, metadata={"format": "pt"}))
    if card is not None:
        save_card(path, card)


def to_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to float16, which halves the size of a file."""
    return {name: value.to(torch.float16) for name, value in weights.items()}
