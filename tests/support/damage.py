"""Strategies of Hypothesis that damage good files."""

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("SSDD_BENCH_HOSTILE", "1"))

JUNK_NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.0, -0.5, 1e300])
JUNK_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "a\0b",
        "../..",
        "/etc/passwd",
        "\x1b[31m",
        "\u202e",
        "x" * 5000,
        "<script>",
        "é",
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | JUNK_NUMBERS | JUNK_TEXT | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JUNK_TEXT, inner, max_size=3),
    max_leaves=5,
)


def examples(count: int) -> settings:
    """Limit the number of examples of a test."""
    return settings(max_examples=count * FACTOR)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Cut, flip, repeat, drop or overwrite bytes of a good file, once to three times."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.sampled_from([1, 1, 2, 4, 8, 64, 512, 5000]))
        match draw(st.sampled_from(["cut", "flip", "repeat", "drop", "fill", "insert"])):
            case "cut":
                del data[start:]
            case "flip":
                for place in range(start, min(start + length, len(data))):
                    data[place] ^= draw(st.integers(1, 255)) if length <= 8 else 255
            case "repeat":
                data[start:start] = data[start : start + length]
            case "drop":
                del data[start : start + length]
            case "fill":
                data[start : start + length] = (
                    draw(st.sampled_from([b"\0", b"\xff", b"9"])) * length
                )
            case "insert":
                data[start:start] = draw(st.binary(max_size=16))
    return bytes(data)


@st.composite
def altered(draw: st.DrawFn, good: Any) -> Any:
    """Replace, drop or add one or two values anywhere in plain data."""
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(good))
        place = draw(st.sampled_from(places))
        good = _replace(
            good, place, draw(JUNK), draw(st.sampled_from(["set", "set", "drop", "add"]))
        )
    return good


def _places(data: Any, above: tuple[Any, ...] = ()) -> Any:
    yield above
    pairs = data.items() if isinstance(data, dict) else ()
    if isinstance(data, list):
        pairs = enumerate(data)
    for key, value in pairs:
        yield from _places(value, (*above, key))


def _replace(data: Any, place: tuple[Any, ...], value: Any, how: str) -> Any:
    if not place:
        if how == "add" and isinstance(data, dict):
            return {**data, "extra": value}
        return value
    key, *below = place
    copy = dict(data) if isinstance(data, dict) else list(data)
    if not below and how == "drop":
        del copy[key]
    else:
        copy[key] = _replace(copy[key], tuple(below), value, how)
    return copy


def to_toml(data: dict[str, Any]) -> str:
    """Write plain data as TOML of inline tables; null, which it lacks, becomes an empty list."""
    return "".join(f"{_quoted(key)} = {_inline(value)}\n" for key, value in data.items())


def _inline(value: Any) -> str:
    match value:
        case None:
            return "[]"
        case dict():
            return "{" + ", ".join(f"{_quoted(k)} = {_inline(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case str():
            return _quoted(value)
    return str(value).lower()


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(one):08x}" if not one.isalnum() else one for one in text) + '"'
