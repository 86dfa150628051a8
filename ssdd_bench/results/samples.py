"""The record of a folder of generated samples, ``generated.json``. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssdd_bench.results.migrations import GENERATED, migrate
from ssdd_bench.results.records import read_json, read_record
from ssdd_bench.results.schema import (
    ExecutionRecord,
    GenerationRecord,
    LatentRecord,
    TokenizerRecord,
)

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class GeneratedRecord:
    """Content of ``generated.json``, beside ``samples.npz``."""

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
    execution: ExecutionRecord
    environment: dict[str, Any]
    command: str
    schema_version: int = SCHEMA_VERSION


def read_generated(folder: Path) -> GeneratedRecord | None:
    """Read the record of a folder of samples; None if it is no finished one.

    Raises:
        UserError: it is damaged.
    """
    path = folder / "generated.json"
    if not path.is_file():
        return None
    data = migrate(read_json(path), GENERATED, SCHEMA_VERSION, str(path))
    return read_record(GeneratedRecord, data, str(path))
