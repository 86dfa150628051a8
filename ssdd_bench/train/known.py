"""Operations of the recipes that are shipped, counted once, so that their costs need no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.train.recipe import Recipe

KNOWN: Final = Path(__file__).parent / "operations.json"


@dataclass(frozen=True)
class Operations:
    """Operations of one image, without the frozen networks of the losses and discriminators."""

    parameters: int  # number of trained ones
    macs: int  # multiply-accumulates of a forward and backward pass
    decoder_macs: int  # of the decoder's forward pass alone
    activation_bytes: int  # kept on a GPU for the backward pass, without compilation


def known_operations(stage: str, recipe: Recipe) -> Operations | None:
    """Return the operations of a stage if a recipe that is shipped has the same networks."""
    known = read_json(KNOWN)
    key = operations_key(stage, recipe)
    return read_record(Operations, known[key], f"{KNOWN}: {key}") if key in known else None


def operations_key(stage: str, recipe: Recipe) -> str:
    """Name everything that the operations of one image depend on."""
    model = recipe.model
    size = f"{recipe.stage(stage).resolution} px {'bf16' if recipe.optimiser.bf16 else 'fp32'}"
    if stage == "klvae":
        config = json.dumps(model.klvae, sort_keys=True).encode()
        return f"klvae {hashlib.sha256(config).hexdigest()[:12]} {size}"
    learns_encoder = stage == "encoder"
    decoder = model.encoder_stage_size if learns_encoder else model.size
    learned = "encoder and decoder" if learns_encoder else "decoder"
    return f"{learned} {decoder} f{model.f}c{model.z_dim} base {model.encoder_base} {size}"
