"""Tokenizers that are named by a file, a folder or a repository instead of an id."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from ssdd_bench.errors import OptionError
from ssdd_bench.plugins.detect import SUFFIXES, Model, detect
from ssdd_bench.plugins.manifest import TokenizerInfo

LOGGER: Final = logging.getLogger(__name__)
REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""Id of a repository on the Hugging Face Hub."""


def is_path(text: str) -> bool:
    """Return True for what reads as a path or the id of a repository, there or not."""
    return "/" in text or text.endswith(SUFFIXES)


def resolve_path(text: str, known: Iterable[TokenizerInfo]) -> tuple[TokenizerInfo, dict[str, str]]:
    """Find the tokenizer that takes a path or a repository, and say which in one line.

    Args:
        text: path of a file or folder, or ``org/name`` on the Hugging Face Hub.
        known: manifests; their ``accepts`` tell who takes what.

    Returns:
        The tokenizer, and its options as a user would type them.

    Raises:
        OptionError: nothing is there, no tokenizer takes it, or several do; lists the explicit
            forms.
    """
    path = Path(text).expanduser()
    if path.exists():
        found = detect(path)
        fitting = [info for info in known if _fits(info, found)]
    elif REPOSITORY.fullmatch(text) and not text.endswith(SUFFIXES):
        found = Model("hub", (Path(text),), "repository on the Hugging Face Hub")
        every = list(known)
        published = [one for one in every if one.published and one.published.hub == text]
        fitting = published or [one for one in every if found.kind in one.accepts]
        if len(published) == 1:
            _say(text, found, published[0].id)
            return published[0], {}
    else:
        raise OptionError(f"{text}: no such file or folder")
    forms = [_explicit(info, found) for info in fitting]
    if not fitting:
        raise OptionError(f"{text}: {found.words}, which no tokenizer takes by its path")
    (info, *more), files = fitting, found.files
    options = info.accepts.get(found.kind, ())
    if more or len(options) != len(files):
        raise OptionError(f"{text}: {found.words}. Write {' or '.join(forms)}")
    _say(text, found, forms[0])
    return info, dict(zip(options, map(str, files), strict=True))


def _fits(info: TokenizerInfo, found: Model) -> bool:
    if found.kind not in info.accepts:
        return False
    latent = info.latent
    return latent is None or all(
        seen is None or seen == stated
        for seen, stated in ((found.f, latent.f), (found.channels, latent.channels))
    )


def _explicit(info: TokenizerInfo, found: Model) -> str:
    """Write the form that names the tokenizer."""
    options = info.accepts.get(found.kind, ())
    given = [*map(str, found.files), *["FILE"] * len(options)]
    settings = [f"{name}={file}" for name, file in zip(options, given, strict=False)]
    return f"{info.id}:{','.join(settings)}" if settings else info.id


@cache  # a command may read the same list several times
def _say(text: str, found: Model, form: str) -> None:
    LOGGER.info("%s: %s, taken as %s", text, found.words, form)
