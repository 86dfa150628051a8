"""Bring files of older schema versions to the present one, a version at a time.

A change of the fields of a record raises the file's version and adds one function here. What a
function writes never changes afterwards, whatever the code of today holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from ssdd_bench.errors import UserError
from ssdd_bench.results.records import read_json

Data = dict[str, Any]
Migration = Callable[[Data], Data]

ROLES: Final = ("codec", "control", "reconstructions", "samples")
NOT_RECORDED: Final = ("memory_format", "kept_memory", "cpu_kernels", "onednn")


def migrate(data: Any, migrations: Mapping[int, Migration], newest: int, source: str) -> Data:
    """Apply every migration from the version of a parsed file to the newest; leave it unchanged.

    Raises:
        UserError: the version is unknown, or the data cannot be brought over; names ``source``.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is not int:
        raise UserError(f"{source}: not a result file (no integer key 'schema_version')")
    if version > newest:
        raise UserError(
            f"{source}: key 'schema_version' is {version} and this ssdd-bench reads up to "
            f"{newest}: update ssdd-bench"
        )
    while version < newest:
        if version not in migrations:
            raise UserError(
                f"{source}: key 'schema_version' is {version}, which this ssdd-bench cannot "
                "read any more: measure again"
            )
        try:
            data = migrations[version](data)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{source}: damaged: no version {version} of a result") from error
        version += 1
        data = {**data, "schema_version": version}
    migrated: Data = data
    return migrated


def _add_intervals(data: Data) -> Data:
    """Version 2: intervals of scores, and scores of single images in a file of their own."""
    empty: Data = {"interval": None, "interval_method": "", "extra": {}}
    metrics = data.get("metrics", {})
    return {
        **data,
        "scores": "",
        "metrics": {key: {**metric, **empty} for key, metric in metrics.items()},
    }


def _add_generation(data: Data) -> Data:
    """Version 3: images sampled from a model of latents."""
    return {**data, "generation": None}


def _add_roles_and_execution(data: Data) -> Data:
    """Version 4: roles, settings of execution, and protocols whose settings are enumerations."""
    old = data["protocol"]
    protocol = successors().get(old["sha256"])
    if protocol is None:
        raise UserError(
            f"protocol '{old['id']}' with the hash {old['sha256'][:12]} has no successor in "
            "version 4: measure again"
        )
    autocast, speed = old.get("autocast"), dict(data["speed"] or {})
    dtype = f"{autocast} autocast" if autocast else old.get("dtype", "float32")
    timed = {key: speed.pop(key) for key in ("device", "threads", "dtype") if speed}
    data = _split_environment({**data, "protocol": protocol, "speed": speed or None}, dtype)
    return {**data, "execution": {**data["execution"], **timed}}


def _add_roles_and_execution_of_samples(data: Data) -> Data:
    """Version 2 of ``generated.json``: roles and settings of execution."""
    return _split_environment(data, "float32")


@cache
def successors() -> Mapping[str, Data]:
    """Return the protocol records of version 4, by the hashes of version 3."""
    table: dict[str, Data] = read_json(Path(__file__).with_name("protocols_v4.json"))
    return table


def _split_environment(data: Data, dtype: str) -> Data:
    """Add the role, once a family of that name, and what ``environment`` holds of the execution."""
    tokenizer, environment = data["tokenizer"], dict(data["environment"])
    family = tokenizer["family"]
    role = family if family in ROLES else "tokenizer"
    execution = dict.fromkeys(NOT_RECORDED) | {"device": environment.pop("device", "") or ""}
    execution |= {key: environment.pop(key, None) for key in ("threads", "cudnn")}
    return {
        **data,
        "tokenizer": {**tokenizer, "role": role},
        "execution": execution | {"dtype": dtype},
        "environment": environment,
    }


RESULTS: Final[Mapping[int, Migration]] = {
    1: _add_intervals,
    2: _add_generation,
    3: _add_roles_and_execution,
}
GENERATED: Final[Mapping[int, Migration]] = {1: _add_roles_and_execution_of_samples}
