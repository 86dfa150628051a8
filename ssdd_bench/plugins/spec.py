"""The grammar of ``--tokenizers``: tokenizers with options, and axes of options.

``ssdd:steps=1,2,4 klvae jpeg:quality=50`` asks for five: commas and spaces separate, further
values of an option make an axis, and several axes of one tokenizer give every combination. A path
or the id of a repository may stand in place of an id: ``./my-vae:subfolder=vae``.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ssdd_bench.errors import OptionError, UnknownNameError
from ssdd_bench.plugins.discovery import Registry
from ssdd_bench.plugins.manifest import ID, TokenizerInfo
from ssdd_bench.plugins.options import OptionInfo, OptionValue, format_value
from ssdd_bench.plugins.paths import is_path, resolve_path

SETTING: Final = re.compile(r"([A-Za-z_][\w-]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class TokenizerRequest:
    """A tokenizer and the options in which it differs from its defaults.

    Attributes:
        id: of the tokenizer.
        options: typed values; those equal to the default are left out.
    """

    id: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The one way to write this request, options sorted: ``jpeg:quality=50``."""
        settings = [f"{name}={_quote(self.options[name])}" for name in sorted(self.options)]
        return f"{self.id}:{','.join(settings)}" if settings else self.id


def parse_requests(text: str, tokenizers: Registry[TokenizerInfo]) -> list[TokenizerRequest]:
    """Split a list of tokenizers into single requests, checked against the manifests.

    A piece is the first that fits of: ``option=value`` for the tokenizer before it; one more
    value of the option before it, if it looks like no id or is one of the option's choices;
    ``id`` or ``id:option=value``. Quotes protect commas and spaces.

    Args:
        text: what the user typed.
        tokenizers: all of them, by id.

    Returns:
        Requests in the order written, equal ones once; of several axes the last varies fastest.

    Raises:
        OptionError: an option or a value does not exist, or the text makes no sense.
        UserError: a tokenizer does not exist or is broken, or a path is of none.
    """
    groups: list[_Group] = []
    for piece in _split(text):
        setting = SETTING.fullmatch(piece)
        if setting and not groups:
            raise OptionError(f"'{piece}' follows no tokenizer: write ID:{piece}")
        if setting:
            groups[-1].set(*setting.groups())
        elif groups and groups[-1].takes(piece):
            groups[-1].add(piece)
        else:
            groups.append(_read_tokenizer(piece, tokenizers))
    if not groups:
        raise OptionError("no tokenizer is named: see `ssdd-bench list tokenizers`")
    requests = [request for group in groups for request in group.requests()]
    return list({request.label: request for request in requests}.values())


@dataclass
class _Group:
    """One tokenizer while it is read, with the values of each option so far."""

    info: TokenizerInfo
    values: dict[str, list[OptionValue]] = field(default_factory=dict)
    last: OptionInfo | None = None

    def set(self, name: str, text: str) -> None:
        """Begin an option with its first value."""
        self.last = self.info.option(name)
        if name in self.values:
            raise OptionError(
                f"{self.info.id}: option '{name}' is given twice: write {name}=A,B to run both"
            )
        self.values[name] = []
        self.add(text)

    def takes(self, piece: str) -> bool:
        """Return True if a piece continues the last option instead of naming a tokenizer."""
        if self.last is None:
            return False
        words = (True, False) if self.last.type == "bool" else self.last.choices
        name = piece.partition(":")[0]
        if self.last.type not in ("path", "str") and is_path(name):
            return False
        return piece in map(format_value, words) or not ID.fullmatch(name)

    def add(self, text: str) -> None:
        """Add a value to the last option."""
        assert self.last is not None
        try:
            self.values[self.last.name].append(self.last.parse(text))
        except OptionError as error:
            raise OptionError(f"{self.info.id}: {error}") from None

    def requests(self) -> list[TokenizerRequest]:
        """One request per combination of values."""
        return [
            TokenizerRequest(
                self.info.id,
                {
                    name: value
                    for name, value in zip(self.values, row, strict=True)
                    if value != self.info.options[name].default
                },
            )
            for row in itertools.product(*self.values.values())
        ]


def _read_tokenizer(piece: str, tokenizers: Registry[TokenizerInfo]) -> _Group:
    name, colon, rest = piece.partition(":")
    try:
        group = _Group(tokenizers.get(name))
    except UnknownNameError:
        if not (is_path(name) or Path(name).exists()):
            raise
        info, options = resolve_path(name, tokenizers.all().values())
        group = _Group(info)
        for option, value in options.items():
            group.set(option, value)
        group.last = None
    if setting := SETTING.fullmatch(rest):
        group.set(*setting.groups())
    elif colon:
        names = ", ".join(group.info.options) or "none"
        raise OptionError(f"'{piece}' must read {name}:OPTION=VALUE; options of {name}: {names}")
    return group


def _split(text: str) -> list[str]:
    splitter = shlex.shlex(text, posix=True)
    splitter.whitespace += ","
    splitter.whitespace_split = True
    splitter.commenters = splitter.escape = ""  # '#' and '\' are parts of file names
    try:
        return list(splitter)
    except ValueError:
        raise OptionError(f"a quote is not closed in: {text}") from None


def _quote(value: OptionValue) -> str:
    """Protect what :func:`_split` would take apart."""
    text = format_value(value)
    if not re.search(r"[,\s'\"]", text):
        return text
    return '"' + text.replace('"', '"\'"\'"') + '"'
