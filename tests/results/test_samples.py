"""The record of a folder of samples: read whole, of older versions too."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.results.schema import (
    GENERATED_VERSION,
    ExecutionRecord,
    GeneratedRecord,
    GenerationRecord,
    LatentRecord,
    TokenizerRecord,
)
from ssdd_bench.results.store import read_generated

RECORD = GeneratedRecord(
    fingerprint="ab" * 32,
    generation=GenerationRecord(
        model="DiT-tiny/1",
        weights={},
        params=1,
        objective="flow",
        sampler="euler",
        steps=2,
        evaluations=2,
        guidance_scale=1.0,
        guidance_interval=(0.0, 1.0),
        guided_channels=3,
        labels="equal",
        classes=2,
        statistics="per channel",
        model_time=None,
        decoder_time=None,
    ),
    tokenizer=TokenizerRecord("x", "x", {}, "X", "kl-vae", "", "1", "", False, {}, 0, 0),
    decoder_steps=None,
    latent=LatentRecord("continuous", 4, 3, (3, 4, 4), 16, 0.1875, None),
    resolution=16,
    samples=4,
    seed=0,
    classes=("a", "b"),
    warnings=(),
    execution=ExecutionRecord("cpu", 2, "float32", None, None, None, None, None),
    environment={"torch": "2"},
    command="ssdd-bench gen sample",
)


def write(folder: Path, data: dict[str, Any]) -> None:
    (folder / "generated.json").write_text(json.dumps(data))


def test_a_record_is_read_back(tmp_path: Path) -> None:
    assert read_generated(tmp_path) is None
    write(tmp_path, asdict(RECORD))
    assert read_generated(tmp_path) == RECORD


def test_version_1_is_brought_over(tmp_path: Path) -> None:
    data = asdict(RECORD)
    del data["execution"], data["tokenizer"]["role"]
    data["environment"] |= {"device": "cpu", "threads": 2, "cudnn": None}
    write(tmp_path, data | {"schema_version": 1})
    assert read_generated(tmp_path) == RECORD


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, asdict(RECORD) | {"schema_version": GENERATED_VERSION + 1})
    with pytest.raises(UserError, match=r"generated\.json: .*'schema_version'"):
        read_generated(tmp_path)
