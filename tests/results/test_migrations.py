"""Older files: each version is brought over, and what cannot be is refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.protocols.registry import OURS, PROTOCOLS
from ssdd_bench.results.migrations import RESULTS, migrate, successors
from ssdd_bench.results.schema import SCHEMA_VERSION
from ssdd_bench.results.store import from_json, to_json

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"
OLD_DEFAULT = "0bb0a320c6045a44880a1912547ad63294c48225b714f3dc22876d4f419faaeb"
OLD_PAPER = "ac56bb82ea2b28da38169185155fa29d49cbc97b1fff48d003446c35ece920b0"


@pytest.fixture
def version_3() -> dict[str, Any]:
    """A result as version 3 stored it."""
    data: dict[str, Any] = json.loads(FIXTURE.read_text())
    execution = data.pop("execution")
    del data["tokenizer"]["role"]
    data["environment"] |= {key: execution[key] for key in ("device", "threads", "cudnn")}
    data["speed"] |= {"device": "cpu", "threads": 2, "dtype": "float32"}
    data["protocol"] = {
        "id": "default-v1",
        "sha256": OLD_DEFAULT,
        "dtype": "float32",
        "autocast": None,
        "noise": "in words",
    }
    return data | {"schema_version": 3}


def test_steps_follow_one_another_and_leave_the_data_alone() -> None:
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in data.items() if k != "took"}, "seconds": data["took"]}

    def double(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "seconds": 2 * data["seconds"]}

    old = {"took": 3, "schema_version": 1}
    assert migrate(old, {1: rename, 2: double}, 3, "x") == {"seconds": 6, "schema_version": 3}
    assert old == {"took": 3, "schema_version": 1}
    with pytest.raises(UserError, match=r"^old.json: key 'schema_version' is 1, which"):
        migrate(old, {2: double}, 3, "old.json")


def test_there_is_a_step_from_every_version() -> None:
    assert RESULTS.keys() == set(range(1, SCHEMA_VERSION))


def test_protocols_of_version_4_are_those_of_today() -> None:
    """Both are immutable: a record that differs from today's protocol would compare with none."""
    records = {record["id"]: record for record in successors().values()}
    assert records.keys() == set(OURS)
    for name, record in records.items():
        today = PROTOCOLS.get(name).record()
        assert json.loads(json.dumps(today)) == record


def test_version_3_is_brought_over_without_a_change_of_numbers(version_3: dict[str, Any]) -> None:
    before = copy.deepcopy(version_3)
    result = from_json(version_3, "old.json")
    assert version_3 == before
    assert result.protocol == json.loads(json.dumps(PROTOCOLS.get("default-v1").record()))
    assert result.execution.device == "cpu"
    assert (result.execution.threads, result.execution.dtype) == (2, "float32")
    assert result.execution.kept_memory is None  # not recorded then
    after = to_json(result)
    for key in ("metrics", "latent", "data", "fingerprint", "seconds", "command"):
        assert after[key] == before[key]
    timings = {key: before["speed"][key] for key in ("encode", "decode", "warning")}
    assert after["speed"] == timings
    assert not {"device", "threads", "cudnn"} & after["environment"].keys()


@pytest.mark.parametrize(
    ("family", "role"),
    [("codec", "codec"), ("control", "control"), ("kl-vae", "tokenizer"), ("samples", "samples")],
)
def test_families_that_were_roles_become_roles(
    version_3: dict[str, Any], family: str, role: str
) -> None:
    version_3["tokenizer"]["family"] = family
    tokenizer = from_json(version_3, "x").tokenizer
    assert (tokenizer.family, tokenizer.role) == (family, role)


def test_a_result_without_timing_tells_its_number_format(version_3: dict[str, Any]) -> None:
    paper: Mapping[str, Any] = {"id": "ssdd-paper-v1", "sha256": OLD_PAPER, "autocast": "bfloat16"}
    result = from_json(version_3 | {"speed": None, "protocol": paper}, "x")
    assert result.speed is None
    assert result.execution.dtype == "bfloat16 autocast"
    assert result.protocol["autocast"] == "bfloat16"


def test_versions_1_and_2_go_all_the_way(version_3: dict[str, Any]) -> None:
    old = version_3 | {"schema_version": 1}
    for key in ("generation", "scores"):
        del old[key]
    new = ("interval", "interval_method", "extra")
    old["metrics"] = {
        name: {key: value for key, value in metric.items() if key not in new}
        for name, metric in old["metrics"].items()
    }
    result = from_json(old, "x")
    assert result.schema_version == SCHEMA_VERSION
    assert result.generation is None
    assert result.metrics["psnr"].interval is None


def test_a_protocol_without_successor_is_refused(version_3: dict[str, Any]) -> None:
    version_3["protocol"] |= {"id": "lab-v1", "sha256": "ab" * 32}
    with pytest.raises(UserError, match=r"^x.json: protocol 'lab-v1' .*abababababab"):
        from_json(version_3, "x.json")


def test_a_damaged_old_file_is_named(version_3: dict[str, Any]) -> None:
    del version_3["environment"]
    with pytest.raises(UserError, match=r"^x.json: damaged"):
        from_json(version_3, "x.json")
