"""Errors meant for users: each message is one line that says what is wrong and what to do.

The command line prints the message and leaves with :attr:`UserError.exit_code`; any other
exception is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


def printable(text: str) -> str:
    """Escape characters that a terminal would obey or cannot show; line breaks and tabs stay.

    Names of files and labels may hold escape sequences, halves of surrogate pairs and marks that
    reverse the direction of text.
    """
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode()
        if unicodedata.category(one).startswith("C") and one not in "\n\t"
        else one
        for one in text
    )


def one_line(text: str) -> str:
    """Join the lines of a text that is :func:`printable`."""
    return printable(" ".join(text.splitlines()))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def describe_error(error: BaseException) -> str:
    """Return the class of an error and the first line of its message, if it has one."""
    return describe_kind(type(error).__name__, str(error))


def describe_kind(kind: str, text: str) -> str:
    """Describe an error by the name of its class and its message; see :func:`describe_error`."""
    return ": ".join([kind, *text.strip().splitlines()[:1]])


def counted(count: int, noun: str, plural: str = "s") -> str:
    """Return a number with its noun, whose plural ends in ``plural``.

    Examples:
        >>> counted(1, "problem"), counted(1200, "job"), counted(3, "class", "es")
        ('1 problem', '1200 jobs', '3 classes')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{plural}"


class UserError(Exception):
    """Base of every error whose cause lies outside this package and whose message is enough."""

    exit_code = 2

    def __str__(self) -> str:
        """Return the message; see :func:`one_line`."""
        return one_line(super().__str__())


class FileContentError(UserError):
    """A file whose content cannot be used.

    Attributes:
        problem: what is wrong, without the file's name and without the advice.
    """

    def __init__(self, path: object, problem: str, advice: str) -> None:
        super().__init__(f"{path}: {problem}: {advice}")
        self.problem = problem


class UnknownNameError(UserError):
    """A tokenizer, metric, protocol or recipe id that does not exist; names the nearest ones.

    Args:
        kind: of the name, such as ``tokenizer``.
        name: that is unknown.
        known: all names.
        faults: of places where the name may be, each with what to do.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], faults: Iterable[object] = ()
    ) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        super().__init__(f"unknown {kind} '{name}': {'; '.join([*map(str, faults), hint])}")


class OptionError(UserError):
    """A tokenizer option that does not exist, or whose value is out of range."""


class ManifestError(UserError):
    """A tokenizer.toml that cannot be used; names the file and the field."""


class PluginError(UserError):
    """A plugin that fails to import, to load or to keep its contract."""


class DataError(UserError):
    """A folder, archive or image that cannot be read or does not fit."""


class SourceError(UserError):
    """A disk or a server that fails while images are read; the images may be right."""


class ResolutionError(UserError):
    """A resolution that the tokenizer cannot take, such as one not a multiple of f."""


class WeightsError(UserError):
    """A checkpoint that is missing, damaged or does not fit its network."""


class UnavailableError(UserError):
    """A metric whose weights or package are not on this machine; says how to get them."""


class OutputError(UserError):
    """A result or checkpoint that cannot be written."""


class JobsFailedError(UserError):
    """A run of which at least one job failed; the results of the others are on disk."""

    exit_code = 3
