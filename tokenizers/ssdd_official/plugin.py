"""Adapter: released checkpoints by name or path, with their own encoder or that of SD-VAE."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from ssdd_bench.errors import UnknownNameError, WeightsError
from ssdd_bench.ssdd.load import open_ssdd
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.weights.hub import fetch, fetch_model

LICENCE = "CC-BY-NC-4.0"
ACCEPTED = "SSDD_BENCH_ACCEPT_LICENCE"
VAE = "stabilityai/sd-vae-ft-mse"
PUBLISHED = tomllib.loads((Path(__file__).parent / "tokenizer.toml").read_text("utf-8"))[
    "published"
]
FILES = {Path(file).stem: file for file in PUBLISHED["files"]}  # paths in the repository, by name


def load(
    checkpoint: str, steps: int, t_pow_shift: float, vae: str, accept_licence: bool
) -> SSDDTokenizer:
    """Load a released checkpoint; the manifest explains the options.

    Raises:
        UnknownNameError: ``checkpoint`` is neither a file nor a released name.
        WeightsError: the licence was not accepted, or a file is missing, out of reach or damaged.
    """
    path = Path(checkpoint)
    if not path.is_file():
        path = _fetch(checkpoint, accept_licence)
    folder = vae or (fetch_model(VAE) if path.stem.startswith("SDVAE") else "")
    return open_ssdd(path, steps, t_pow_shift, vae=folder)


def _fetch(name: str, accept_licence: bool) -> Path:
    if name.endswith(".safetensors") or "/" in name:
        raise WeightsError(f"{name}: no such file. Pass the path of a weights file")
    if name not in FILES:
        raise UnknownNameError("SSDD checkpoint", name, FILES)
    if not accept_licence and os.environ.get(ACCEPTED, "") != LICENCE:
        raise WeightsError(
            f"{name} is licensed {LICENCE}, for non-commercial use only. To download it under "
            f"that licence, pass accept_licence=true or set {ACCEPTED}={LICENCE}"
        )
    return fetch(PUBLISHED["hub"], [FILES[name]], PUBLISHED["revision"]) / FILES[name]
