"""Find an ``AutoencoderKL`` on disk or on the Hugging Face Hub, and load all of it or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.hub import CONFIG, WEIGHTS, build_model, fetch, read_config

CLASS = {"_class_name": "AutoencoderKL"}


def load_file(file: Path) -> Any:
    """Load a state dict, built by the ``config`` in the JSON card beside it.

    Returns:
        An ``AutoencoderKL`` in evaluation mode, in float32.

    Raises:
        WeightsError: a file is missing or damaged, or the two do not fit.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file: give the path of an existing one")
    card = file.with_suffix(".json")
    config = read_config(card).get("config")
    if not isinstance(config, dict):
        raise WeightsError(f"{card}: no key 'config' with the arguments of AutoencoderKL: add it")
    return build_model({**config, **CLASS}, file)


def load_folder(folder: Path) -> tuple[Any, Path]:
    """Load what diffusers' ``save_pretrained`` wrote.

    Returns:
        An ``AutoencoderKL`` in evaluation mode, in float32; and its weights file.

    Raises:
        WeightsError: a file is missing or damaged, or the two do not fit.
    """
    file = folder / WEIGHTS
    return build_model({**read_config(folder / CONFIG), **CLASS}, file), file


def find_folder(path: str, subfolder: str, revision: str) -> Path:
    """Find the folder with the model, fetching it from the Hub where ``path`` is an id there.

    Raises:
        WeightsError: there is no such folder, or the Hub does not give the model.
    """
    if Path(path).is_dir():
        if revision:
            raise WeightsError(f"{path}: a folder has no revision: leave that option out")
        return Path(path) / subfolder
    if path.startswith((".", "/")) or path.count("/") != 1:
        raise WeightsError(f"{path}: no such folder: give one in the layout of diffusers")
    prefix = f"{subfolder}/" if subfolder else ""
    return fetch(path, [prefix + CONFIG, prefix + WEIGHTS], revision) / subfolder
