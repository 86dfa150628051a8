"""Arguments as users give them in Python: taken where their meaning is clear, otherwise refused."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

from ssdd_bench.errors import UserError, counted


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse what is none of a few names.

    Raises:
        UserError: it is not; names all of them.
    """
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{name} is {value!r}: give {', '.join(known[:-1])} or {known[-1]}")


def whole(name: str, value: Any, least: int | None = None) -> int:
    """Return a whole number of any type, such as one of numpy.

    Raises:
        UserError: it is none, or less than ``least``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or (least is not None and number < least):
        bound = "" if least is None else f" from {least} on"
        raise UserError(f"{name} is {value!r}: give a whole number{bound}")
    return number


def whole_numbers(name: str, values: Any) -> tuple[int, ...]:
    """Return one whole number or several.

    Raises:
        UserError: one is no whole number.
    """
    several = values if isinstance(values, Iterable) else (values,)
    return tuple(whole(name, one) for one in several)


def number(name: str, value: Any, positive: bool = False) -> float:
    """Return a finite real number of any type, such as one of numpy.

    Raises:
        UserError: it is none, or not above 0 where it must be ``positive``.
    """
    if not _is_number(value, positive):
        kind = "positive number" if positive else "finite number"
        raise UserError(f"{name} is {value!r}: give a {kind}")
    return float(value)


def numbers(name: str, values: Any, count: int, positive: bool = False) -> tuple[float, ...]:
    """Return a list of as many numbers, each as of :func:`number`.

    Raises:
        UserError: there are more or fewer, or one is none.
    """
    kind = counted(count, f"{'positive' if positive else 'finite'} number")
    if not isinstance(values, list | tuple):
        raise UserError(f"{name} is {values!r}: give {kind}")
    if len(values) != count:
        raise UserError(f"{name} has {counted(len(values), 'value')}: give {kind}")
    if wrong := [one for one in values if not _is_number(one, positive)]:
        raise UserError(f"{name} has the value {wrong[0]!r}: give {kind}")
    return tuple(map(float, values))


def plain(value: Any) -> Any:
    """Return the number or the flat list that a tensor or an array holds, else the value itself.

    Models of diffusers have either in their configuration if they were made so.
    """
    if not (hasattr(value, "tolist") and hasattr(value, "flatten")):
        return value
    return value.flatten().tolist() if value.ndim else value.tolist()


def _is_number(value: Any, positive: bool) -> bool:
    real = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    return real and (value > 0 or not positive)


def texts(name: str, values: Any) -> tuple[str, ...]:
    """Return one text or path, or several, as texts.

    Raises:
        UserError: one is neither.
    """
    several = (values,) if isinstance(values, str | Path) else values
    if not isinstance(several, Iterable):
        raise UserError(f"{name} is {values!r}: give a text, a path or a list of them")
    found = tuple(several)
    for one in found:
        if not isinstance(one, str | Path):
            raise UserError(f"{name} has a {type(one).__name__}: give texts or paths")
    return tuple(map(str, found))
