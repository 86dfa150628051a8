"""Strict reading of TOML and JSON files into frozen dataclasses, with one style of error.

``FILE: key 'a.b' must be a number, not "x"``: an unknown, missing or mistyped key names the file
and the place. A check beyond the type stands beside it, as ``Annotated[int, POSITIVE]``.
"""

from __future__ import annotations

import json
import tomllib
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from ssdd_bench.errors import UnknownNameError, UserError

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
    """A check of one value beside its type, for ``Annotated``.

    Attributes:
        words: what the value must be, as in ``must be WORDS, not 0``.
        holds: returns True for a value that is allowed.
    """

    words: str
    holds: Callable[[Any], object]


POSITIVE: Final = Rule("1 or more", lambda value: value >= 1)
NOT_NEGATIVE: Final = Rule("0 or more", lambda value: value >= 0)


def read_toml(path: Path, what: str = "") -> dict[str, Any]:
    """Parse one TOML file.

    Args:
        path: of the file.
        what: kind of file, for messages, such as ``recipe``.

    Raises:
        UserError: the file cannot be read or is not valid TOML; names it.
    """
    name = f"{what} {path}" if what else str(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # also malformed UTF-8
        raise UserError(f"{name}: not valid TOML: {error}") from error


def read_json(path: Path) -> Any:
    """Parse one JSON file strictly: NaN, Infinity and repeated keys are errors.

    Raises:
        UserError: the file cannot be read or is not valid JSON; names it.
    """
    try:
        return json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_repeats,
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # also malformed UTF-8
        raise UserError(f"{path}: damaged JSON ({error}): delete the file and measure again") from (
            error
        )


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
        data: what the file holds at this place.
        source: the file's name, for messages.
        where: dotted path of keys down to this place, for messages.
        optional: keys whose field has a default may be left out, as in files written by people.
        fixed: fields that the caller sets and the file must not.

    Raises:
        UserError: a key is unknown, missing, of the wrong type, or breaks a rule.
    """
    reader = _Reader(source, optional)
    if fixed:
        return cast(Record, reader.read_dataclass(cast(type[Any], kind), data, where, fixed))
    return cast(Record, reader.read(kind, data, where))


@dataclass(frozen=True)
class _Reader:
    source: str
    optional: bool

    def read(self, kind: Any, data: Any, where: str) -> Any:
        """Convert ``data`` to the annotated type ``kind`` or say what does not fit."""
        if kind is Any:
            return data
        if is_dataclass(kind):
            return self.read_dataclass(cast(type[Any], kind), data, where, NOTHING)
        origin, arguments = get_origin(kind), get_args(kind)
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
            return {
                key: self.read(arguments[1], value, _join(where, key))
                for key, value in data.items()
            }
        if origin is tuple and isinstance(data, list):
            variadic = len(arguments) == 2 and arguments[1] is Ellipsis
            kinds = arguments[:1] * len(data) if variadic else arguments
            if len(kinds) == len(data):
                return tuple(
                    self.read(inner, value, f"{where}[{index}]")
                    for index, (inner, value) in enumerate(zip(kinds, data, strict=True))
                )
        if kind is float and type(data) is int:
            return float(data)
        if type(data) is kind:
            return data
        raise self._misfit(where, describe_type(kind), data)

    def _read_union(self, kind: Any, arguments: tuple[Any, ...], data: Any, where: str) -> Any:
        """Take the member of exactly this type; of tables and lists there is one at the most."""
        if type(data) in arguments:
            return data
        inner = [one for one in arguments if one is not types.NoneType]
        if len(inner) == 1:
            return self.read(inner[0], data, where)
        for one in inner:
            try:
                return self.read(one, data, where)
            except UserError:
                continue
        raise self._misfit(where, describe_type(kind), data)

    def read_dataclass(
        self, kind: type[Any], data: Any, where: str, fixed: Mapping[str, Any]
    ) -> Any:
        if not isinstance(data, dict):
            raise self._misfit(where, WORDS[dict], data)
        hints = get_type_hints(kind, include_extras=True)
        own = {field.name: field for field in fields(kind) if field.name not in fixed}
        if unknown := sorted(data.keys() - own.keys()):
            known = [_join(where, name) for name in own]
            raise UserError(
                f"{self.source}: {UnknownNameError('key', _join(where, unknown[0]), known)}"
            )
        values = dict(fixed)
        for name, field in own.items():
            if name in data:
                values[name] = self.read(hints[name], data[name], _join(where, name))
            elif not self.optional or field.default is field.default_factory is MISSING:
                raise UserError(f"{self.source}: missing key '{_join(where, name)}'")
        return kind(**values)

    def _misfit(self, where: str, expected: str, data: Any) -> UserError:
        place = f"key '{where}'" if where else "the file"
        return UserError(f"{self.source}: {place} must be {expected}, not {_shorten(data)}")


def describe_type(kind: Any) -> str:
    """Say which values an annotated type allows: ``text or null``, ``one of mode, sample``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return describe_type(arguments[0])
    if origin in (types.UnionType, Union):
        return " or ".join(map(describe_type, arguments))
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


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key '{next(key for key in keys if keys.count(key) > 1)}' twice")
    return data
