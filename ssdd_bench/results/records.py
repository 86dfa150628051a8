"""Strict reading of TOML and JSON files into frozen dataclasses, with one style of error.

``FILE: key 'a.b' must be a number, not "x"``: an unknown, missing or mistyped key names the file
and the place. A check beyond the type stands beside it, as ``Annotated[int, POSITIVE]``.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast

from ssdd_bench.errors import FileContentError, UnknownNameError, UserError, printable

Record = TypeVar("Record")

NOTHING: Final[Mapping[str, Any]] = types.MappingProxyType({})
WORDS: Final[Mapping[Any, str]] = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a table",
    tuple: "a list",
    type(None): "null",
}


@dataclass(frozen=True)
class Rule:
    """A check of one value beside its type, for ``Annotated``."""

    words: str  # as in ``must be WORDS, not 0``
    holds: Callable[[Any], object]  # returns True for a value that is allowed
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)  # in JSON Schema


POSITIVE: Final = Rule("1 or more", lambda value: value >= 1, {"minimum": 1})
NOT_NEGATIVE: Final = Rule("0 or more", lambda value: value >= 0, {"minimum": 0})
ABOVE_ZERO: Final = Rule("above 0", lambda value: value > 0, {"exclusiveMinimum": 0})
ADDED: Final = Rule("anything", lambda value: True)
"""Mark of a field with a default that older files lack."""


PositiveInt = Annotated[int, POSITIVE]
NonNegativeInt = Annotated[int, NOT_NEGATIVE]
PositiveFloat = Annotated[float, ABOVE_ZERO]
NonNegativeFloat = Annotated[float, NOT_NEGATIVE]


def read_toml(path: Path) -> dict[str, Any]:
    """Parse one TOML file.

    Raises:
        UserError: the file cannot be read or is not valid TOML; names it. Numbers are finite, and
            text is printable, as in JSON.
    """
    parse = partial(tomllib.loads, parse_float=_parse_finite)
    content: dict[str, Any] = _parse(path, parse, "not valid TOML ({})", "correct it")
    return content


def read_json(path: Path) -> Any:
    """Parse one JSON file strictly: NaN, infinite numbers and repeated keys are errors.

    Characters that are not :func:`~ssdd_bench.errors.printable` are replaced by their escapes.

    Raises:
        UserError: the file cannot be read or is not valid JSON; names it.
    """
    parse = partial(
        json.loads,
        parse_constant=_parse_finite,
        parse_float=_parse_finite,
        object_pairs_hook=_refuse_repeats,
    )
    advice = "delete the file and measure again, or move it to another folder if it is no result"
    return _parse(path, parse, "damaged JSON ({})", advice)


def _parse(path: Path, parse: Callable[[str], Any], damaged: str, advice: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        plain = "\\" not in text and text.replace("\n", "").isprintable()
        return parse(text) if plain else _escape(parse(text))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # also malformed UTF-8
        raise FileContentError(path, damaged.format(error), advice) from error
    except RecursionError:
        raise FileContentError(path, damaged.format("nested too deeply"), advice) from None


def read_record(
    kind: type[Record],
    data: Any,
    source: str,
    where: str = "",
    *,
    optional: bool = False,
    fixed: Mapping[str, Any] = NOTHING,
) -> Record:
    """Build a dataclass from plain data whose keys and types must match it.

    Args:
        kind: a dataclass, or a table or list of some; unions, literals and ``Annotated`` types
            with a :class:`Rule` are followed.
        data: parsed content of the file at this place.
        source: the file's name, for messages.
        where: dotted path of keys down to this place, for messages.
        optional: keys whose field has a default may be left out, as in files written by people;
            otherwise only those marked :data:`ADDED`.
        fixed: fields that the caller sets and the file must not.

    Raises:
        UserError: a key is unknown, missing, of the wrong type, or breaks a rule.
    """
    return cast(Record, _Reader(source, optional).read(kind, data, where, fixed))


@dataclass(frozen=True)
class _Reader:
    source: str
    optional: bool

    def read(self, kind: Any, data: Any, where: str, fixed: Mapping[str, Any] = NOTHING) -> Any:
        """Convert ``data`` to the annotated type ``kind`` or describe the mismatch."""
        if kind is Any or type(data) is kind:
            return data
        if is_dataclass(kind):
            return self._read_dataclass(kind, data, where, fixed)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is Annotated:
            value = self.read(arguments[0], data, where)
            for rule in arguments[1:]:
                if not rule.holds(value):
                    raise self._misfit(where, rule.words, data)
            return value
        if origin in (types.UnionType, Union):
            return self._read_union(kind, arguments, data, where)
        if origin is Literal and any(data == one and type(data) is type(one) for one in arguments):
            return data
        if origin in (dict, Mapping) and isinstance(data, dict):
            inner = arguments[1]
            return {key: self.read(inner, one, _join(where, key)) for key, one in data.items()}
        if origin is tuple and isinstance(data, list):
            variadic = len(arguments) == 2 and arguments[1] is Ellipsis
            kinds = arguments[:1] * len(data) if variadic else arguments
            if len(kinds) == len(data):
                pairs = enumerate(zip(kinds, data, strict=True))
                return tuple(self.read(inner, one, f"{where}[{i}]") for i, (inner, one) in pairs)
        if kind is float and type(data) is int and abs(data) <= sys.float_info.max:
            return float(data)
        raise self._misfit(where, _describe(kind), data)

    def _read_union(self, kind: Any, members: tuple[Any, ...], data: Any, where: str) -> Any:
        """Take the member of exactly this type; of tables and lists there is one at the most."""
        if type(data) in members:
            return data
        inner = [one for one in members if one is not types.NoneType]
        for one in inner:
            try:
                return self.read(one, data, where)
            except UserError:
                if len(inner) == 1:
                    raise
        raise self._misfit(where, _describe(kind), data)

    def _read_dataclass(self, kind: Any, data: Any, where: str, fixed: Mapping[str, Any]) -> Any:
        if not isinstance(data, dict):
            raise self._misfit(where, WORDS[dict], data)
        hints = _hints(kind)
        own = {one.name: one for one in fields(kind) if one.name not in fixed}
        if unknown := sorted(data.keys() - own.keys()):
            known = [_join(where, name) for name in own]
            error = UnknownNameError("key", _join(where, unknown[0]), known)
            raise UserError(f"{self.source}: {error}")
        values = dict(fixed)
        for name, one in own.items():
            if name in data:
                values[name] = self.read(hints[name], data[name], _join(where, name))
            elif ADDED in typing.get_args(hints[name]):
                continue
            elif not self.optional or one.default is one.default_factory is MISSING:
                raise UserError(f"{self.source}: missing key '{_join(where, name)}'")
        return kind(**values)

    def _misfit(self, where: str, expected: str, data: Any) -> UserError:
        place = f"key '{where}'" if where else "the file"
        return UserError(f"{self.source}: {place} must be {expected}, not {_shorten(data)}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _describe(kind: Any) -> str:
    """Name the values that an annotated type allows: ``text or null``, ``one of mode, sample``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _describe(arguments[0])
    if origin in (types.UnionType, Union):
        return " or ".join(map(_describe, arguments))
    if origin is Literal:
        names = ", ".join(map(str, arguments))
        return f"one of {names}" if len(arguments) > 1 else f"'{names}'"
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)} values"
    if is_dataclass(kind) or origin is Mapping:
        return WORDS[dict]
    return WORDS[origin or kind]


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shorten(data: Any) -> str:
    text = json.dumps(data, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def _parse_finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _escape(data: Any) -> Any:
    match data:
        case str():
            return printable(data)
        case list():
            return [_escape(one) for one in data]
        case dict():
            return {_escape(key): _escape(value) for key, value in data.items()}
    return data


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key '{key}' twice")
    return found
