"""The record of a folder of generated samples, ``generated.json``. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.results.schema import GenerationRecord, LatentRecord, TokenizerRecord

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class GeneratedRecord:
    """What ``generated.json`` holds, beside ``samples.npz``."""

    fingerprint: str  # of whatever decides the samples
    generation: GenerationRecord
    tokenizer: TokenizerRecord
    decoder_steps: int | None
    latent: LatentRecord
    resolution: int
    samples: int
    seed: int
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    environment: dict[str, Any]
    command: str
    schema_version: int = SCHEMA_VERSION


def read_generated(folder: Path) -> GeneratedRecord | None:
    """What a folder of samples says about itself; None if it is no finished one.

    Raises:
        UserError: it is damaged.
    """
    path = folder / "generated.json"
    return read_record(GeneratedRecord, read_json(path), str(path)) if path.is_file() else None
