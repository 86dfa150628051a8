"""Save and resume a training, and write what it learnt as weights files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.errors import WeightsError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.weights.files import load_safetensors
from ssdd_bench.weights.hub import read_config


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; a killed process leaves the previous one whole."""
    write_atomically(path, lambda target: torch.save(state, target))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state; tensors and plain values only, no code is run.

    Raises:
        WeightsError: the file is damaged or something else.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise WeightsError(f"{path} is not a checkpoint of this program: {error}") from error
    return state


def save_weights(
    path: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any] | None = None
) -> None:
    """Write tensors and, beside them, a card that says where they come from."""
    ready = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, lambda target: save_file(ready, target, metadata={"format": "pt"}))
    if card is not None:
        save_card(path, card)


def save_card(path: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a weights file beside it."""
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    write_atomically(path.with_suffix(".json"), lambda target: target.write_text(text))


def save_half(source: Path, target: Path) -> None:
    """Copy a weights file and its card, in float16: half the size, for shipping."""
    half = {name: value.to(torch.float16) for name, value in load_safetensors(source).items()}
    save_weights(target, half, read_config(source.with_suffix(".json")))
