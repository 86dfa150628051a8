"""Find the tokenizers that exist, and load the ones that are asked for.

A tokenizer is a folder with a tokenizer.toml and a plugin. Folders are looked for in
``ssdd_bench.tokenizers`` (the built-in ones), in ``$SSDD_BENCH_TOKENIZERS`` (folders of such
folders), and in installed packages that name one in the entry point group
``ssdd_bench.tokenizers``. Looking imports neither torch nor any plugin.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ssdd_bench import tokenizers
from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import ManifestError, OptionError, PluginError, UnknownNameError, UserError
from ssdd_bench.plugins import spec as request_syntax
from ssdd_bench.plugins.discovery import Broken, find_packaged
from ssdd_bench.plugins.manifest import FILE_NAME, TokenizerInfo, load_manifests
from ssdd_bench.plugins.options import OptionValue
from ssdd_bench.plugins.spec import TokenizerRequest

if TYPE_CHECKING:
    import torch

__all__ = [
    "Broken",
    "Found",
    "TokenizerRequest",
    "find_all",
    "find_tokenizers",
    "load_tokenizer",
    "parse_requests",
]

GROUP: Final = "ssdd_bench.tokenizers"
VARIABLE: Final = "SSDD_BENCH_TOKENIZERS"


@dataclass(frozen=True)
class Found:
    """Every tokenizer there is, whole or broken."""

    tokenizers: dict[str, TokenizerInfo]
    broken: tuple[Broken, ...]

    def get(self, tokenizer_id: str) -> TokenizerInfo:
        """Look up one tokenizer.

        Raises:
            UnknownNameError: there is none; names the nearest.
            ManifestError: it is a broken one; says what is wrong with it.
        """
        if tokenizer_id in self.tokenizers:
            return self.tokenizers[tokenizer_id]
        for broken in self.broken:
            if broken.name.rstrip("_").replace("_", "-") == tokenizer_id:
                raise broken.error
        raise UnknownNameError("tokenizer", tokenizer_id, self.tokenizers)


def find_all() -> Found:
    """Find every tokenizer, setting the broken ones apart.

    Two of the same id are both broken: neither can be measured under a name that says which.
    """
    found: dict[str, TokenizerInfo] = {}
    broken: list[Broken] = []
    twice: dict[str, Broken] = {}
    for entry in (*_in_folders(), *_in_packages()):
        if isinstance(entry, Broken):
            broken.append(entry)
        elif other := found.get(entry.id):
            error = ManifestError(
                f"two tokenizers have the id '{entry.id}': {other.source} ({other.folder}) and "
                f"{entry.source} ({entry.folder}): rename or remove one"
            )
            twice[entry.id] = Broken(entry.id, entry.source, error)
        else:
            found[entry.id] = entry
    good = {name: found[name] for name in sorted(found.keys() - twice.keys())}
    return Found(good, (*broken, *twice.values()))


def find_tokenizers() -> dict[str, TokenizerInfo]:
    """Find every tokenizer that can be used, by id in alphabetical order."""
    return find_all().tokenizers


def parse_requests(text: str) -> list[TokenizerRequest]:
    """Read a list such as ``ssdd:steps=1,2,4 klvae``; :mod:`ssdd_bench.plugins.spec` has the rules.

    Raises:
        UnknownNameError: no such tokenizer; names the nearest.
        OptionError: an option or a value does not exist.
    """
    return request_syntax.parse_requests(text, find_all().get)


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
    info = find_all().get(request.id)
    tokenizer = _call_plugin(info, info.resolve_options({**request.options, **options}))
    return tokenizer.to(device)


def _in_folders() -> Iterator[TokenizerInfo | Broken]:
    """The plugin folders on the import path of ``ssdd_bench.tokenizers``."""
    importlib.reload(tokenizers)  # the variable may have changed since the first import
    foreign = os.environ.get(VARIABLE, "").split(os.pathsep)
    for folder in dict.fromkeys(tokenizers.__path__):
        source = f"folder {folder}" if folder in foreign else "built-in"
        if not Path(folder).is_dir():
            error = ManifestError(f"{folder}: no such folder: correct ${VARIABLE}")
            yield Broken(Path(folder).name, source, error)
        for path in sorted(Path(folder).glob(f"*/{FILE_NAME}")):
            try:
                infos = load_manifests(path, source=source)
                named = infos[0].id.replace("-", "_")
                # An underscore at the end keeps a folder apart from a package of that name.
                if path.parent.name not in (named, f"{named}_"):
                    raise ManifestError(
                        f"{path}: the folder of '{infos[0].id}' must be named {named}: rename one "
                        "of them"
                    )
                yield from infos
            except ManifestError as error:
                yield Broken(path.parent.name, source, error)


def _in_packages() -> Iterator[TokenizerInfo | Broken]:
    """The tokenizers that installed distributions name in their entry points."""
    for entry in find_packaged(GROUP, FILE_NAME):
        if isinstance(entry, Broken):
            yield entry
            continue
        try:
            yield from load_manifests(entry.file, source=entry.source, package=entry.package)
        except ManifestError as error:
            yield Broken(entry.name, entry.source, error)


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
            f"mend or remove the plugin in {info.folder}"
        ) from error
