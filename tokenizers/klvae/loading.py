"""Find an ``AutoencoderKL`` on disk or on the Hugging Face Hub, and load all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights import load_safetensors, load_strict

MINI = Path(__file__).parent / "weights" / "klvae-mini-f8c4.safetensors"
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"

# Files saved before diffusers 0.12 name the layers of the attention in the middle otherwise.
OLD_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


def load_file(file: Path) -> Any:
    """Load a state dict, built by the ``config`` in the JSON card beside it.

    Returns:
        An ``AutoencoderKL`` in evaluation mode, in float32.

    Raises:
        WeightsError: a file is missing or damaged, or the two do not fit.
    """
    state = load_safetensors(file)
    card = file.with_suffix(".json")
    config = _read_json(card).get("config")
    if not isinstance(config, dict):
        raise WeightsError(f"{card}: no key 'config' with the arguments of AutoencoderKL: add it")
    return _build(config, state, file)


def load_folder(folder: Path) -> tuple[Any, Path]:
    """Load what diffusers' ``save_pretrained`` wrote.

    Returns:
        An ``AutoencoderKL`` in evaluation mode, in float32; and its weights file.

    Raises:
        WeightsError: a file is missing or damaged, or the two do not fit.
    """
    config = _read_json(folder / CONFIG)
    file = folder / WEIGHTS
    return _build(config, load_safetensors(file), file), file


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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    prefix = f"{subfolder}/" if subfolder else ""
    # Nothing else of the repository, and no pickles, which can run code.
    files = [prefix + CONFIG, prefix + WEIGHTS]
    try:
        folder = snapshot_download(path, revision=revision or None, allow_patterns=files)
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise WeightsError(
            f"{path}: no such folder, and the Hugging Face Hub did not give a model of this id "
            f"({type(error).__name__}): download it elsewhere and give its folder as path"
        ) from error
    return Path(folder) / subfolder


def _build(config: Mapping[str, Any], state: Mapping[str, Any], file: Path) -> Any:
    try:
        model: Any = diffusers.AutoencoderKL.from_config(config)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{file}: its configuration builds no AutoencoderKL: {reason}"
        ) from error
    load_strict(model, {_rename(name): tensor for name, tensor in state.items()}, file)
    return model.eval()


def _rename(name: str) -> str:
    if ".attentions." in name:
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
    return name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}: klvae needs this file") from error
    except ValueError as error:
        raise WeightsError(f"{path}: damaged JSON: {error}") from error
    if not isinstance(data, dict):
        raise WeightsError(f"{path}: not a JSON object")
    return data
