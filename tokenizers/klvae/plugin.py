"""Adapter: diffusers' ``AutoencoderKL``, from the mini weights, a file, a folder or the Hub."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.diffusers import from_diffusers
from ssdd_bench.weights.files import choose_weights

from .loading import find_folder, load_file, load_folder


def load(f: int, path: str, subfolder: str, revision: str) -> Tokenizer:
    """Load the model; the manifest explains the options.

    Raises:
        OptionError: ``f`` was given beside ``path``.
        WeightsError: the model is missing, out of reach, damaged or of another architecture.
    """
    chosen = choose_weights(Path(__file__).parent, f, path)
    if path.endswith(".safetensors") or not path:
        if subfolder or revision:
            raise WeightsError("klvae: subfolder and revision go with a folder or a Hub id as path")
        return from_diffusers(load_file(chosen), weights=[chosen])
    model, file = load_folder(find_folder(path, subfolder, revision))
    return from_diffusers(model, weights=[file])
