"""The registry of everything that has an id, and the tokenizers in it.

A tokenizer is a folder with a tokenizer.toml and a plugin. Folders are looked for in
``ssdd_bench.tokenizers`` (the built-in ones), in ``$SSDD_BENCH_TOKENIZERS`` (folders of such
folders), and in installed packages that name one in the entry point group
``ssdd_bench.tokenizers``. Looking imports neither torch nor any plugin.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic

from ssdd_bench import tokenizers
from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import ManifestError, OptionError, PluginError, UnknownNameError, UserError
from ssdd_bench.plugins import spec as request_syntax
from ssdd_bench.plugins.discovery import BUILT_IN, Broken, Entry, Found, attempt, find_packaged
from ssdd_bench.plugins.manifest import FILE_NAME, TokenizerInfo, load_manifests
from ssdd_bench.plugins.options import OptionValue
from ssdd_bench.plugins.spec import TokenizerRequest

if TYPE_CHECKING:
    import torch

__all__ = [
    "TOKENIZERS",
    "Broken",
    "Registry",
    "TokenizerRequest",
    "load_tokenizer",
    "parse_requests",
]

GROUP: Final = "ssdd_bench.tokenizers"
VARIABLE: Final = "SSDD_BENCH_TOKENIZERS"


class Registry(Generic[Entry]):
    """Entries of one kind by id, found once per process, with the broken ones apart.

    One rule settles equal ids: a built-in entry keeps its id and a third party's is broken; of two
    third parties' entries both are broken, since neither may be measured under an id that does not
    say which one it is.
    """

    def __init__(self, kind: str, discover: Callable[[], Iterable[Found[Entry] | Broken]]) -> None:
        """Prepare to look; nothing is read yet.

        Args:
            kind: of the entries, for messages, such as ``tokenizer``.
            discover: yields all entries in the order of listing.
        """
        self._kind = kind
        self._discover = discover
        self._seen: object = None
        self._found: dict[str, Entry] = {}
        self._broken: tuple[Broken, ...] = ()

    def all(self) -> Mapping[str, Entry]:
        """Return every usable entry by id."""
        self._look()
        return self._found

    def broken(self) -> tuple[Broken, ...]:
        """Return what was found and cannot be used."""
        self._look()
        return self._broken

    def get(self, entry_id: str) -> Entry:
        """Look up one entry.

        Raises:
            UnknownNameError: there is none of this id; names the nearest.
            ManifestError: it is a broken one; says what is wrong with it.
        """
        found = self.all()
        if entry_id in found:
            return found[entry_id]
        for broken in self._broken:
            if broken.name == entry_id:
                raise broken.error
        raise UnknownNameError(self._kind, entry_id, found)

    def clear(self) -> None:
        """Forget what was found, so that files written since are seen."""
        self._seen = None

    def _look(self) -> None:
        """Discover again only if the places to look in have changed."""
        places = (os.environ.get(VARIABLE), tuple(sys.path))
        if self._seen == places:
            return
        broken = []
        by_id: dict[str, list[Found[Entry]]] = {}
        for one in self._discover():
            if isinstance(one, Broken):
                broken.append(one)
            else:
                by_id.setdefault(one.id, []).append(one)
        self._found = {}
        for entry_id, several in by_id.items():
            winner = next((one for one in several if one.source == BUILT_IN), several[0])
            if len(several) == 1 or winner.source == BUILT_IN:
                self._found[entry_id] = winner.entry
            sources = " and ".join(one.source for one in several)
            error = ManifestError(
                f"{len(several)} {self._kind}s have the id '{entry_id}' ({sources}): rename or "
                "remove all but one"
            )
            losers = [one for one in several if self._found.get(entry_id) is not one.entry]
            broken += [Broken(entry_id, one.source, error) for one in losers]
        self._broken, self._seen = tuple(broken), places


def parse_requests(text: str) -> list[TokenizerRequest]:
    """Read a list such as ``ssdd:steps=1,2,4 klvae``; :mod:`ssdd_bench.plugins.spec` has the rules.

    Raises:
        UnknownNameError: no such tokenizer; names the nearest.
        OptionError: an option or a value does not exist.
    """
    return request_syntax.parse_requests(text, TOKENIZERS.get)


def load_tokenizer(
    request: str | TokenizerRequest, device: torch.device | str = "cpu", **options: OptionValue
) -> Tokenizer:
    """Import a tokenizer's plugin and make it ready to run.

    Args:
        request: an id, an id with options (``jpeg:quality=50``) or a parsed request.
        device: where its networks go.
        options: typed values, which replace those of ``request``.

    Raises:
        UnknownNameError: no such tokenizer; names the nearest.
        OptionError: an option or a value does not exist.
        PluginError: a library is absent, or the plugin fails; the cause is kept.
        WeightsError: its weights are missing or damaged.
    """
    if isinstance(request, str):
        requests = parse_requests(request)
        if len(requests) > 1:
            raise OptionError(
                f"'{request}' asks for {len(requests)} tokenizers: load one at a time"
            )
        request = requests[0]
    info = TOKENIZERS.get(request.id)
    tokenizer = _call_plugin(info, info.resolve_options({**request.options, **options}))
    return tokenizer.to(device)


def _discover() -> list[Found[TokenizerInfo] | Broken]:
    packaged = find_packaged(
        GROUP,
        FILE_NAME,
        lambda entry: _by_id(
            load_manifests(entry.file, source=entry.source, package=entry.package)
        ),
    )
    found = [*_in_folders(), *packaged]
    return sorted(found, key=lambda one: one.id if isinstance(one, Found) else one.name)


def _in_folders() -> Iterator[Found[TokenizerInfo] | Broken]:
    """Find the plugin folders on the import path of ``ssdd_bench.tokenizers``."""
    importlib.reload(tokenizers)  # the variable may have changed since the first import
    foreign = os.environ.get(VARIABLE, "").split(os.pathsep)
    for folder in dict.fromkeys(tokenizers.__path__):
        source = f"folder {folder}" if folder in foreign else BUILT_IN
        if not Path(folder).is_dir():
            error = ManifestError(f"{folder}: no such folder: correct ${VARIABLE}")
            yield Broken(Path(folder).name, source, error)
        for path in sorted(Path(folder).glob(f"*/{FILE_NAME}")):
            name = path.parent.name.rstrip("_").replace("_", "-")
            yield from attempt(name, source, lambda p=path, s=source: _load_folder(p, s))  # type: ignore[misc]


def _load_folder(path: Path, source: str) -> dict[str, TokenizerInfo]:
    infos = load_manifests(path, source=source)
    named = infos[0].id.replace("-", "_")
    # An underscore at the end keeps a folder apart from a package of that name.
    if path.parent.name not in (named, f"{named}_"):
        raise ManifestError(
            f"{path}: the folder of '{infos[0].id}' must be named {named}: rename one of them"
        )
    return _by_id(infos)


def _by_id(infos: Iterable[TokenizerInfo]) -> dict[str, TokenizerInfo]:
    return {info.id: info for info in infos}


def _call_plugin(info: TokenizerInfo, options: dict[str, OptionValue]) -> Tokenizer:
    """Import a plugin and call its ``load``."""
    missing = [name for name in info.requires if importlib.util.find_spec(name) is None]
    if missing:
        target = f"'ssdd-bench[{info.extra}]'" if info.extra else " ".join(missing)
        raise PluginError(f"{info.id} needs {', '.join(missing)}: pip install {target}")
    module, _, function = info.plugin.partition(":")
    if info.model is not None:
        options = {**options, "model": info.model}
    try:
        loaded = getattr(importlib.import_module(f"{info.package}.{module}"), function)(**options)
        if not isinstance(loaded, Tokenizer):
            raise TypeError(f"{function} returned {type(loaded).__name__}, not a Tokenizer")
        return loaded
    except UserError:
        raise
    except Exception as error:  # whatever a third party's code raises is its own
        reason = next(iter(str(error).splitlines()), "")
        raise PluginError(
            f"{info.id} ({info.source}) cannot be loaded: {type(error).__name__}: {reason}; "
            f"fix or remove the plugin in {info.folder}"
        ) from error


TOKENIZERS: Final = Registry("tokenizer", _discover)
