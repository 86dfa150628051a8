"""The published JSON Schema: of the present records, and of one mind with the strict reader."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ssdd_bench.errors import UserError
from ssdd_bench.results import schema
from ssdd_bench.results.json_schema import (
    PUBLISHED,
    describe_fields,
    result_schema,
    write_schema,
)
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    *sorted((ROOT / "results" / "mini").glob("ssdd_*.json"))[:1],
    *sorted((ROOT / "results" / "generation").glob("*.json"))[:1],
]
COMMITTED = sorted(
    path
    for folder in ("results/mini", "results/generation", "tests/gate/baseline", "tests/fixtures")
    for path in (ROOT / folder).rglob("*.json")
    if path.name != "ssdd-golden.json"
)
VALIDATOR = Draft202012Validator(result_schema())


def places(data: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in a document."""
    yield where
    children = data.items() if isinstance(data, dict) else ()
    if isinstance(data, list):
        children = enumerate(data)
    for key, value in children:
        yield from places(value, (*where, key))


def edit(document: Any, where: tuple[Any, ...], change: Any) -> Any:
    """A copy with the value at ``where`` replaced, or taken out if ``change`` is ``del``."""
    edited = copy.deepcopy(document)
    holder = edited
    for key in where[:-1]:
        holder = holder[key]
    if change is KeyError:
        del holder[where[-1]]
    else:
        holder[where[-1]] = change
    return edited


def reads(data: Any) -> bool:
    try:
        from_json(data, "file.json")
    except UserError:
        return False
    return True


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_committed_results_are_valid(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read_json(path))] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=["reconstruction", "generation"])
@pytest.mark.parametrize("change", [KeyError, None, "text", 7, True, {"new": 1}])
def test_schema_and_reader_take_the_same_files(path: Path, change: Any) -> None:
    """Every value of a file is taken out or replaced in turn; both refuse some of these."""
    document = read_json(path)
    refused = 0
    for where in places(document):
        if where and not (change is KeyError and isinstance(where[-1], int)):
            edited = edit(document, where, change)
            assert VALIDATOR.is_valid(edited) == reads(edited), (where, change)
            refused += not reads(edited)
    assert refused > 20


def test_an_added_key_may_be_absent_and_an_unknown_one_may_not() -> None:
    document = read_json(EXAMPLES[0])
    document.pop("numbers_version", None)
    assert VALIDATOR.is_valid(document)
    assert reads(document)
    for where in (("new",), ("latent", "new"), ("metrics", "psnr", "new")):
        edited = edit(document, where, 1)
        assert not VALIDATOR.is_valid(edited)
        assert not reads(edited)


def test_descriptions_are_the_comments_of_the_fields() -> None:
    found = describe_fields(schema.LatentRecord)
    assert list(found) == [one.name for one in fields(schema.LatentRecord)]
    assert found["shape"] == "channels, height, width; null for byte streams"
    assert result_schema()["$defs"]["Timing"]["properties"]["batch"] == {
        "type": "integer",
        "description": "images per call",
    }


def test_every_field_is_described_in_terms_of_json() -> None:
    found = result_schema()
    for name, record in {"Result": found, **found["$defs"]}.items():
        texts = {key: one.get("description", "") for key, one in record["properties"].items()}
        assert [key for key, text in texts.items() if not text] == [], name
        for text in (record["description"], *texts.values()):
            assert not re.search(r"\bNone\b|`|\bTrue\b|\bFalse\b", text), text


def test_a_type_without_a_translation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Other:
        path: Path

    monkeypatch.setattr("ssdd_bench.results.json_schema.Result", Other)
    with pytest.raises(KeyError):
        result_schema()


@pytest.mark.medium
def test_the_published_file_is_the_schema_of_today(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    write_schema(path)
    assert path.read_bytes() == PUBLISHED.read_bytes(), "run: make schema"
    Draft202012Validator.check_schema(json.loads(PUBLISHED.read_text()))
