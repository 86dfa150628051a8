"""Options of a tokenizer: the values that its manifest allows, and the check of users' values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.results.records import read_record

OptionValue = int | float | str | bool

# Option types of a manifest: the Python type of their values, and its name in messages.
OPTION_TYPES: Final[Mapping[str, tuple[Any, str]]] = {
    "int": (int, "an integer"),
    "float": (float, "a number"),
    "str": (str, "text"),
    "path": (str, "a path"),
    "bool": (bool, "true or false"),
}


@dataclass(frozen=True)
class OptionInfo:
    """One option of a tokenizer: a keyword argument of the plugin's ``load``."""

    name: str
    type: Literal["int", "float", "str", "path", "bool"]  # ``path``: text in which ~ is expanded
    default: OptionValue
    help: str  # one line, with the unit
    minimum: float | None = None  # smallest value of an ``int`` or ``float``, inclusive
    maximum: float | None = None  # largest one, inclusive
    choices: tuple[OptionValue, ...] = ()  # the only values allowed; empty allows any
    auto: OptionValue | None = None
    """The value that leaves the choice to the plugin. What it chose is the tokenizer's attribute of
    that name, which results record in its place."""
    added: bool = False
    """True for an option that came after results were made: at its default it is not recorded, so
    that those results keep their fingerprints."""

    @property
    def domain(self) -> str:
        """The values allowed, in words: ``an integer from 1 to 100``."""
        if self.choices:
            return "one of " + ", ".join(map(format_value, self.choices))
        limits = (("from", self.minimum), ("to", self.maximum))
        words = (f" {word} {limit:g}" for word, limit in limits if limit is not None)
        return OPTION_TYPES[self.type][1] + "".join(words)

    def parse(self, text: str) -> OptionValue:
        """Convert what a user typed, or raise an ``OptionError`` with the domain."""
        kind = OPTION_TYPES[self.type][0]
        try:
            value = {"true": True, "false": False}[text] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise self._refusal(text) from None
        return self.check(value)

    def check(self, value: Any) -> OptionValue:
        """Return a typed value, or raise an ``OptionError`` if it lies outside the domain."""
        kind = OPTION_TYPES[self.type][0]
        if kind is float and type(value) is int:
            value = float(value)
        if (
            type(value) is not kind
            or (kind is float and not math.isfinite(value))
            or (self.choices and value not in self.choices)
            or (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
        ):
            raise self._refusal(value)
        if self.type == "path" and value.startswith("~"):
            value = str(Path(value).expanduser())
        checked: OptionValue = value
        return checked

    def _refusal(self, value: Any) -> OptionError:
        return OptionError(f"option '{self.name}' must be {self.domain}, not {value!r}")


def format_value(value: OptionValue) -> str:
    """Write an option's value as a user types it; :meth:`OptionInfo.parse` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def read_options(tables: Any, source: str, where: str) -> dict[str, OptionInfo]:
    """Read the table ``options`` of a manifest; see :func:`read_record` for the arguments.

    Raises:
        UserError: a key is unknown, missing or wrong, or a default lies outside its domain.
    """
    checked = read_record(dict[str, dict[str, Any]], tables, source, where)
    return {
        name: _read_option(name, table, source, f"{where}.{name}")
        for name, table in checked.items()
    }


def _read_option(name: str, table: dict[str, Any], source: str, where: str) -> OptionInfo:
    if not name.isidentifier() or not name.islower():
        raise UserError(f"{source}: key '{where}' must be a lower-case Python name")
    option = read_record(OptionInfo, table, source, where, optional=True, fixed={"name": name})
    if option.type not in ("int", "float") and {"minimum", "maximum"} & table.keys():
        raise UserError(f"{source}: keys '{where}.minimum' and 'maximum' go with numbers only")
    key = "default"
    try:
        option = replace(option, default=option.check(option.default))
        key = "auto"
        return option if option.auto is None else replace(option, auto=option.check(option.auto))
    except OptionError as error:
        raise UserError(f"{source}: key '{where}.{key}': {error}") from None
