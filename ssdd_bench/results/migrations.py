"""Bring files of older schema versions to the present one, a version at a time. Imports no torch.

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

PROTOCOLS_V4: Final = Path(__file__).with_name("protocols_v4.json")
NOT_RECORDED: Final = {
    "memory_format": None,
    "kept_memory": None,
    "cpu_kernels": None,
    "onednn": None,
}


def migrate(data: Data, migrations: Mapping[int, Migration], newest: int, source: str) -> Data:
    """Apply every migration from a file's version to the newest.

    Args:
        data: the parsed file; left as it is.
        migrations: the key is the version that a function reads; it returns the next one.
        newest: version of the schema.
        source: the file's name, for messages.

    Raises:
        UserError: the version is unknown, or the data cannot be brought over.
    """
    version = data.get("schema_version")
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
    return data


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
    environment, speed = dict(data["environment"]), data["speed"]
    autocast = old.get("autocast")
    dtype = f"{autocast} autocast" if autocast else old.get("dtype", "float32")
    execution = _execution(environment, dtype)
    if speed is not None:
        speed = dict(speed)
        execution |= {key: speed.pop(key) for key in ("device", "threads", "dtype")}
    return {
        **data,
        "tokenizer": _with_role(data["tokenizer"]),
        "protocol": protocol,
        "speed": speed,
        "execution": execution,
        "environment": environment,
    }


def _add_roles_and_execution_of_samples(data: Data) -> Data:
    """Version 2 of ``generated.json``: roles and settings of execution."""
    environment = dict(data["environment"])
    execution = _execution(environment, "float32")
    tokenizer = _with_role(data["tokenizer"])
    return {**data, "tokenizer": tokenizer, "execution": execution, "environment": environment}


@cache
def successors() -> Mapping[str, Data]:
    """Return the protocol records of version 4, by the hashes of version 3."""
    table: dict[str, Data] = read_json(PROTOCOLS_V4)
    return table


def _execution(environment: Data, dtype: str) -> Data:
    """Take what was recorded of the execution out of ``environment``."""
    recorded = {key: environment.pop(key, None) for key in ("device", "threads", "cudnn")}
    return {**NOT_RECORDED, **recorded, "device": recorded["device"] or "", "dtype": dtype}


def _with_role(tokenizer: Data) -> Data:
    """Add the role that older versions expressed by a family of that name."""
    family = tokenizer["family"]
    roles = ("codec", "control", "reconstructions", "samples")
    return {**tokenizer, "role": family if family in roles else "tokenizer"}


RESULTS: Final[Mapping[int, Migration]] = {
    1: _add_intervals,
    2: _add_generation,
    3: _add_roles_and_execution,
}
GENERATED: Final[Mapping[int, Migration]] = {1: _add_roles_and_execution_of_samples}
