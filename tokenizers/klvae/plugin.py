"""Adapter: diffusers' ``AutoencoderKL``, from the mini weights, a file, a folder or the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.diffusers import from_diffusers
from ssdd_bench.weights.files import shipped_or_given
from ssdd_bench.weights.hub import fetch_model
from ssdd_bench.weights.layout import read_config
from ssdd_bench.weights.models import build_model, load_model

CLASS = "AutoencoderKL"


def load(f: int, path: str, subfolder: str, revision: str) -> Tokenizer:
    """Load the model; the manifest explains the options.

    Raises:
        OptionError: ``f`` was given beside ``path``.
        WeightsError: the model is missing, out of reach, damaged or of another architecture.
    """
    file = shipped_or_given(Path(__file__).parent, f, path)
    if file.suffix == ".safetensors":
        if subfolder or revision:
            raise WeightsError(
                f"{file} is a file, which has no subfolder or revision. Leave these options out"
            )
        model, files = _load_file(file), [file]
    else:
        model, files = load_model(_find_folder(path, subfolder, revision), _class_name=CLASS)
    return from_diffusers(model, weights=files)


def _load_file(file: Path) -> Any:
    """Load a state dict, built by the ``config`` in the JSON card beside it."""
    if not file.is_file():
        raise WeightsError(f"{file}: no such file. Pass the path of a weights file")
    card = file.with_suffix(".json")
    config = read_config(card).get("config")
    if not isinstance(config, dict):
        raise WeightsError(f"{card} has no key 'config'. Add it, with the arguments of {CLASS}")
    return build_model({**config, "_class_name": CLASS}, [file])


def _find_folder(path: str, subfolder: str, revision: str) -> Path:
    if Path(path).is_dir():
        if revision:
            raise WeightsError(f"{path}: a folder has no revision. Leave that option out")
        return Path(path) / subfolder
    if path.startswith((".", "/")) or path.count("/") != 1:
        raise WeightsError(f"{path}: no such folder. Pass one in the layout of diffusers")
    return fetch_model(path, subfolder, revision)
