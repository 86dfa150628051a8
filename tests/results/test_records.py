"""The reader of TOML and JSON: every fault names the file, the key and what is allowed."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.results.records import POSITIVE, read_json, read_record, read_toml


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, POSITIVE]
    mode: Literal["mode", "sample"] = "mode"


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float
    channels: int | Literal["all"]
    inner: Inner
    by_name: dict[str, Inner] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    pair: tuple[int, int] | None = None
    folder: Path = Path()


WHOLE: dict[str, Any] = {"name": "x", "rate": 1, "channels": "all", "inner": {"size": 2}}


def read(**changes: Any) -> Outer:
    fixed = {"folder": Path("somewhere")}
    return read_record(Outer, WHOLE | changes, "a.toml", optional=True, fixed=fixed)


def test_nested_tables_defaults_and_fixed_fields() -> None:
    found = read(by_name={"a": {"size": 3, "mode": "sample"}}, pair=[1, 2], channels=3)
    assert found == Outer(
        "x", 1.0, 3, Inner(2), {"a": Inner(3, "sample")}, (), (1, 2), Path("somewhere")
    )
    assert type(found.rate) is float
    assert read().channels == "all"


def test_without_defaults_every_key_is_required() -> None:
    with pytest.raises(UserError, match=r"a.json: missing key 'mode'"):
        read_record(Inner, {"size": 1}, "a.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "y"}, "unknown key 'nmae': did you mean name"),
        ({"folder": "y"}, "unknown key 'folder'"),
        ({"inner": {}}, "missing key 'inner.size'"),
        ({"inner": 3}, "key 'inner' must be a table, not 3"),
        ({"inner": {"size": 0}}, "key 'inner.size' must be 1 or more, not 0"),
        ({"inner": {"size": True}}, "key 'inner.size' must be an integer, not true"),
        ({"inner": {"size": 1, "mode": "mean"}}, "'inner.mode' must be one of mode, sample, not"),
        ({"inner": {"size": 1, "mood": "mode"}}, "'inner.mood': did you mean inner.mode"),
        ({"by_name": {"a": {"size": 1.5}}}, "key 'by_name.a.size' must be an integer, not 1.5"),
        ({"words": ["a", 1]}, r"key 'words[1]' must be text, not 1"),
        ({"words": "a"}, "key 'words' must be a list, not"),
        ({"pair": [1]}, "key 'pair' must be a list of 2 values, not [1]"),
        ({"channels": "some"}, "key 'channels' must be an integer or 'all', not"),
        ({"rate": date(2000, 1, 1)}, "key 'rate' must be a number, not \"2000-01-01\""),
    ],
)
def test_faults_name_the_place_and_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(**changes)
    assert str(caught.value).startswith("a.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_literal_is_not_matched_by_an_equal_value_of_another_type() -> None:
    @dataclass(frozen=True)
    class One:
        number: Literal[1]

    # ``get_type_hints`` finds the annotations of this class, which needs no forward reference.
    assert read_record(One, {"number": 1}, "x").number == 1
    with pytest.raises(UserError, match="number"):
        read_record(One, {"number": True}, "x")


@pytest.mark.parametrize("read_file", [read_toml, read_json])
def test_files_that_are_absent_or_damaged_are_named(tmp_path: Path, read_file: Any) -> None:
    with pytest.raises(UserError, match=r"gone: .*No such file"):
        read_file(tmp_path / "gone")
    (tmp_path / "bad").write_bytes(b"\xff = {")
    with pytest.raises(UserError, match="bad: "):
        read_file(tmp_path / "bad")
