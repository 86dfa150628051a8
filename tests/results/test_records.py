"""The reader of TOML and JSON: every fault names the file, the key and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.results.records import (
    ABOVE_ZERO,
    ADDED,
    NOT_NEGATIVE,
    POSITIVE,
    Rule,
    read_json,
    read_record,
    read_toml,
)


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


@dataclass(frozen=True)
class Kinds:
    many: tuple[Inner, ...]
    table: Mapping[str, int]
    either: tuple[int, int] | str | None
    anything: Any
    one: Literal["a"] = "a"
    late: Annotated[int, ADDED] = 7
    last: Annotated[int, ADDED] = 9


KINDS: dict[str, Any] = {
    "many": [{"size": 1, "mode": "mode"}, {"size": 2, "mode": "sample"}],
    "table": {"x": 1},
    "either": [3, 4],
    "anything": [{"b": None}],
    "one": "a",
}


def read_kinds(**changes: Any) -> Kinds:
    return read_record(Kinds, KINDS | changes, "k.json")


def test_every_kind_of_value() -> None:
    inner = (Inner(1, "mode"), Inner(2, "sample"))
    assert read_kinds() == Kinds(inner, {"x": 1}, (3, 4), [{"b": None}])
    assert read_kinds(either="t", late=8) == Kinds(inner, {"x": 1}, "t", [{"b": None}], late=8)
    assert read_kinds(either=None, many=[], table={}).many == ()
    assert (read_kinds(last=8).late, read_kinds(last=8).last) == (7, 8)
    assert read_record(dict[str, float], {"a": -2}, "x") == {"a": -2.0}
    assert read_record(tuple[Inner, ...], [], "x") == ()
    assert read_record(float, 10**300, "x") == 1e300


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        ({"many": [{"size": 1, "mode": "mode"}, 3]}, "many[1]", "a table, not 3"),
        ({"many": {}}, "many", "a list, not {}"),
        ({"table": {"x": "1"}}, "table.x", 'an integer, not "1"'),
        ({"table": [1]}, "table", "a table, not [1]"),
        ({"either": [1, "2"]}, "either", 'a list of 2 values or text or null, not [1, "2"]'),
        ({"either": 1}, "either", "a list of 2 values or text or null, not 1"),
        ({"one": "b"}, "one", "'a', not \"b\""),
        ({"late": None}, "late", "an integer, not null"),
        ({"late": "x" * 38}, "late", f'an integer, not "{"x" * 38}"'),
        ({"late": "x" * 39}, "late", f'an integer, not "{"x" * 36}...'),
    ],
)
def test_faults_of_every_kind(changes: dict[str, Any], place: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read_kinds(**changes)
    assert str(caught.value) == f"k.json: key '{place}' must be {expected}"


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (Inner, [], "k.json: the file must be a table, not []"),
        (float, 10**309, "k.json: the file must be a number, not 1"),
        (float, -(10**309), "k.json: the file must be a number, not -1"),
        (float | None, "x", "k.json: the file must be a number"),
        (Inner | None, {"size": 0, "mode": "mode"}, "k.json: key 'size' must be 1 or more, not 0"),
    ],
)
def test_faults_of_a_whole_file(kind: Any, data: Any, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read_record(kind, data, "k.json")
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        (POSITIVE, 1, True),
        (POSITIVE, 0, False),
        (NOT_NEGATIVE, 0, True),
        (NOT_NEGATIVE, -1, False),
        (ABOVE_ZERO, 0.5, True),
        (ABOVE_ZERO, 0, False),
    ],
)
def test_rules(rule: Rule, value: float, holds: bool) -> None:
    assert rule.holds(value) is holds


def test_what_a_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"\\u0007": ["\\u001b[0m", {"é": 1.5}], "n": [1, null, true]}')
    bell, escape = r"\x07", r"\x1b[0m"
    assert read_json(path) == {bell: [escape, {"é": 1.5}], "n": [1, None, True]}
    path.write_text('"\\u0007" = ["\\u001b[0m", {"é" = 1.5}]\nn = [1, true]', encoding="utf-8")
    assert read_toml(path) == {bell: [escape, {"é": 1.5}], "n": [1, True]}
    path.write_text("{}")
    assert read_json(path) == {}


@pytest.mark.parametrize(
    ("read_file", "text", "token"),
    [
        (read_json, '{"a": {"b": 1, "c": 2, "b": 3}}', "key 'b' twice"),
        (read_json, '{"a": 1e999}', "1e999"),
        (read_json, '{"a": -Infinity}', "-Infinity"),
        (read_json, "[" * 100_000, "deeply"),
        (read_json, "{", "line 1"),
        (read_toml, "a = inf", "inf"),
        (read_toml, "a = nan", "nan"),
        (read_toml, "a = " + "[" * 100_000, "deeply"),
        (read_toml, "a =", "TOML"),
    ],
)
def test_what_no_file_may_hold(tmp_path: Path, read_file: Any, text: str, token: str) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    with pytest.raises(UserError, match=f"^{path}: .*{token}") as caught:
        read_file(path)
    assert len(str(caught.value).splitlines()) == 1
