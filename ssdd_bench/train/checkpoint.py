"""Save and resume a training, and export what it learnt as a tokenizer's weights file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssdd_bench.errors import WeightsError
from ssdd_bench.files import write_atomically


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; a killed process leaves the previous one whole."""
    write_atomically(path, lambda target: torch.save(state, target))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state; tensors and plain values only, no code is run."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise WeightsError(f"{path} is not a checkpoint of this program: {error}") from error
    return state


def export(path: Path, weights: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Write float16 weights and, beside them, a card that says where they come from."""
    half = {name: value.to(torch.float16).contiguous() for name, value in weights.items()}
    write_atomically(path, lambda target: save_file(half, target, metadata={"format": "pt"}))
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    write_atomically(path.with_suffix(".json"), lambda target: target.write_text(text))
