"""Read TOML and JSON strictly into dataclasses: unknown, missing or mistyped keys are errors."""

from __future__ import annotations

import json
import tomllib
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ssdd_bench.errors import UserError

Record = TypeVar("Record")


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
        raise UserError(f"{name}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: {error}") from error


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


def read_record(kind: type[Record], data: Any, source: str, where: str = "") -> Record:
    """Build a dataclass from JSON data whose keys and types must match it exactly.

    Args:
        kind: a dataclass; nested dataclasses, tuples, dicts and unions are followed.
        data: what the JSON file holds at this place.
        source: the file's name, for messages.
        where: dotted path of keys down to this place, for messages.

    Raises:
        UserError: a key is unknown, missing or of the wrong type.
    """
    return cast(Record, _read(kind, data, source, where))


def _read(kind: Any, data: Any, source: str, where: str) -> Any:
    """Convert ``data`` to the annotated type ``kind`` or say what does not fit."""
    if kind is Any:
        return data
    if is_dataclass(kind):
        return _read_dataclass(cast(type[Any], kind), data, source, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):  # in this package always ``X | None``
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if data is None else _read(inner, data, source, where)
    if origin is Literal and data in arguments:
        return data
    if origin is dict and isinstance(data, dict):
        return {
            key: _read(arguments[1], value, source, _join(where, key))
            for key, value in data.items()
        }
    if origin is tuple and isinstance(data, list):
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = arguments[:1] * len(data) if variadic else arguments
        if len(kinds) == len(data):
            return tuple(
                _read(inner, value, source, f"{where}[{index}]")
                for index, (inner, value) in enumerate(zip(kinds, data, strict=True))
            )
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is kind:
        return data
    expected = kind.__name__ if isinstance(kind, type) and origin is None else str(kind)
    raise UserError(f"{source}: key '{where}' must be {expected}, not {_shorten(data)}")


def _read_dataclass(kind: type[Any], data: Any, source: str, where: str) -> Any:
    if not isinstance(data, dict):
        raise UserError(f"{source}: key '{where}' must be an object, not {_shorten(data)}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for word, keys in (
        ("unknown", sorted(set(data) - set(names))),
        ("missing", [name for name in names if name not in data]),
    ):
        if keys:
            raise UserError(f"{source}: {word} key '{_join(where, keys[0])}'")
    return kind(
        **{name: _read(hints[name], data[name], source, _join(where, name)) for name in names}
    )


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shorten(data: Any) -> str:
    text = json.dumps(data)
    return text if len(text) <= 40 else text[:37] + "..."


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key '{next(key for key in keys if keys.count(key) > 1)}' twice")
    return data
