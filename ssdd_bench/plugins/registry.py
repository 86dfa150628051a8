"""The tokenizers: folders with a tokenizer.toml and a plugin.

Folders are looked for in ``ssdd_bench.tokenizers`` (the built-in ones), in
``$SSDD_BENCH_TOKENIZERS`` (folders of such folders), and in installed packages that name one in the
entry point group ``ssdd_bench.tokenizers``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ssdd_bench import tokenizers
from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import ManifestError, OptionError, PluginError, UserError, describe_error
from ssdd_bench.plugins import spec
from ssdd_bench.plugins.discovery import BUILT_IN, VARIABLE, Broken, Place, Registry
from ssdd_bench.plugins.manifest import FILE_NAME, TokenizerInfo, load_manifest
from ssdd_bench.plugins.options import OptionValue
from ssdd_bench.plugins.spec import TokenizerRequest

if TYPE_CHECKING:
    import torch


def load_tokenizer(
    request: str | TokenizerRequest, device: torch.device | str = "cpu", **options: OptionValue
) -> Tokenizer:
    """Import a tokenizer's plugin and make it ready to run.

    Args:
        request: an id, an id with options (``jpeg:quality=50``) or a parsed request.
        device: where its networks go, in the faster memory format.
        options: typed values, which replace those of ``request``.

    Raises:
        UnknownNameError: no such tokenizer; names the nearest.
        OptionError: an option or a value does not exist.
        PluginError: a library is absent, or the plugin fails; the cause is kept.
        WeightsError: its weights are missing or damaged.
    """
    if isinstance(request, str):
        request = parse_request(request)
    info = TOKENIZERS.get(request.id)
    resolved = info.resolve_options({**request.options, **options})
    if missing := info.missing():
        raise PluginError(f"{info.id} {missing}")
    from ssdd_bench.api.formats import set_memory_format
    from ssdd_bench.plugins.guard import Guard
    from ssdd_bench.plugins.outputs import check_described

    guard = Guard(info.id)
    with guard.calls():
        tokenizer = _call_plugin(info, resolved).to(device)
        check_described(info.id, tokenizer)
        if networks := tokenizer.networks():
            set_memory_format(networks.values())
    if guard.changed:
        tokenizer.changed = guard.changed
    return tokenizer


def _find_folders() -> Iterator[Place | Broken]:
    """Find the plugin folders on the import path of ``ssdd_bench.tokenizers``."""
    importlib.reload(tokenizers)  # the variable may have changed since the first import
    foreign = os.environ.get(VARIABLE, "").split(os.pathsep)
    for text in dict.fromkeys(tokenizers.__path__):
        folder, source = Path(text), f"folder {text}" if text in foreign else BUILT_IN
        if not folder.is_dir():
            error = ManifestError(f"{folder}: no such folder: correct ${VARIABLE}")
            yield Broken(folder.name, source, error, is_place=True)
        elif (folder / FILE_NAME).is_file():
            plugin = folder.resolve()
            error = ManifestError(
                f"{folder}: a plugin's own folder: name its parent {plugin.parent} in ${VARIABLE}"
            )
            yield Broken(_id_of(plugin), source, error, is_place=True)
        for file in sorted(folder.glob(f"*/{FILE_NAME}")):
            package = f"{tokenizers.__name__}.{file.parent.name}"
            yield Place(_id_of(file.parent), source, file, package)


def _id_of(folder: Path) -> str:
    """Return the id that the name of a plugin's folder stands for."""
    return folder.name.rstrip("_").replace("_", "-")


def _load(place: Place) -> dict[str, TokenizerInfo]:
    infos = load_manifest(place)
    named = infos[0].id.replace("-", "_")
    # An underscore at the end keeps a folder apart from a package of that name.
    folder = place.file.parent.name.removesuffix("_")
    if folder != named and not place.source.startswith("package "):
        raise ManifestError(
            f"{place.file}: the folder of '{infos[0].id}' must be named {named}: rename one of them"
        )
    return {info.id: info for info in infos}


def _call_plugin(info: TokenizerInfo, options: dict[str, OptionValue]) -> Tokenizer:
    """Import a plugin and call its ``load``."""
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
        raise PluginError(
            f"{info.id} ({info.source}) cannot be loaded: {describe_error(error)}; "
            f"fix or remove the plugin in {info.folder}"
        ) from error


TOKENIZERS: Final = Registry(
    "tokenizer", "ssdd_bench.tokenizers", FILE_NAME, _find_folders, _load, by_id=True
)
parse_requests: Final = partial(spec.parse_requests, tokenizers=TOKENIZERS)


def parse_request(text: str) -> TokenizerRequest:
    """Read one tokenizer with its options, see :func:`ssdd_bench.plugins.spec.parse_requests`.

    Raises:
        OptionError: it is none, or several.
    """
    request, *more = parse_requests(text)
    if more:
        names = ", ".join(one.label for one in (request, *more))
        raise OptionError(f"'{text}' names {1 + len(more)} tokenizers ({names}): give one")
    return request
