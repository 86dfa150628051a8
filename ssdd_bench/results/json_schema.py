"""JSON Schema of the result file, made from the dataclasses of :mod:`ssdd_bench.results.schema`.

``result.schema.json`` beside this module is the published copy; ``make schema`` writes it.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import textwrap
import tokenize
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union

from ssdd_bench.results.files import write_text
from ssdd_bench.results.records import ADDED
from ssdd_bench.results.schema import SCHEMA_VERSION, Result

PUBLISHED: Final = Path(__file__).with_name("result.schema.json")
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
NAMES: Final[Mapping[Any, str]] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}


def result_schema() -> dict[str, Any]:
    """Return the schema of a result file, draft 2020-12.

    It accepts the files that :func:`ssdd_bench.results.store.from_json` reads. Every object is
    closed, and every key is required but those that older files of the same version lack.
    """
    definitions: dict[str, Any] = {}
    top = _define(Result, definitions)
    top["properties"]["schema_version"] |= {"const": SCHEMA_VERSION}
    return {
        "$schema": DIALECT,
        "title": f"Result file of ssdd-bench, schema version {SCHEMA_VERSION}",
        **top,
        "$defs": definitions,
    }


def write_schema(path: Path = PUBLISHED) -> None:
    """Write the published copy."""
    write_text(path, json.dumps(result_schema(), indent=2) + "\n")


def describe_fields(kind: type) -> dict[str, str]:
    """Return the comment beside each field of a dataclass, in terms of JSON; "" for none."""
    source = textwrap.dedent(inspect.getsource(kind))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {one.start[0]: one.string for one in tokens if one.type == tokenize.COMMENT}
    (declared,) = ast.parse(source).body
    assert isinstance(declared, ast.ClassDef)

    def beside(node: ast.AnnAssign) -> str:
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        return next((comments[line] for line in lines if line in comments), "")

    return {
        node.target.id: _in_json(beside(node).lstrip("# "))
        for node in declared.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _in_json(text: str) -> str:
    """Write a text about a record in terms of JSON, without the marks of docstrings."""
    return re.sub(r":\w+:`(\w+)`|``", r"\1", re.sub(r"\bNone\b", "null", text))


def _define(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a dataclass, and add those of the ones in it."""
    hints = typing.get_type_hints(kind, include_extras=True)
    comments = describe_fields(kind)
    properties = {}
    for one in fields(kind):
        note = {"description": comments[one.name]} if comments[one.name] else {}
        properties[one.name] = _convert(hints[one.name], definitions) | note
    return {
        "description": _in_json(" ".join(inspect.cleandoc(kind.__doc__ or "").split())),
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if ADDED not in typing.get_args(hints[name])],
        "additionalProperties": False,
    }


def _convert(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # named before its fields, which may lead back to it
            definitions[kind.__name__] = _define(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin is Annotated:
        schema = _convert(arguments[0], definitions)
        for rule in arguments[1:]:
            schema |= rule.schema
        return schema
    if origin in (types.UnionType, Union):
        return {"anyOf": [_convert(one, definitions) for one in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _convert(arguments[1], definitions)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _convert(arguments[0], definitions)}
    if origin is tuple:
        items = [_convert(one, definitions) for one in arguments]
        return {
            "type": "array",
            "prefixItems": items,
            "items": False,
            "minItems": len(items),
        }
    return {"type": NAMES[kind]}
