"""Adapter: find a model on disk or on the Hub and build it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.adapters.diffusers import CLASSES, from_diffusers
from ssdd_bench.weights.hub import fetch_model
from ssdd_bench.weights.layout import CONFIG, find_weights, read_config, refuse_pipeline
from ssdd_bench.weights.models import build_model

HERE = Path(__file__).parent


def load(
    path: str, repo: str, subfolder: str, revision: str, model: str, steps: int | None = None
) -> Tokenizer:
    """Load a model; the manifest explains the options, and ``steps`` is the consistency decoder's.

    Raises:
        WeightsError: the model is missing, out of reach, damaged, of a class that no adapter
            knows, or not the one that was named.
    """
    if path and (repo or revision):
        raise WeightsError(f"{path} was given beside a repo or revision. Pass one of the two")
    known = tomllib.loads((HERE / "tokenizer.toml").read_text("utf-8"))["models"].get(model, {})
    config = json.loads((HERE / "configs.json").read_text("utf-8")).get(model, {})
    published = known.get("published", {})
    file = Path(path) if Path(path).is_file() else None
    if file and config:
        built, files = build_model(config, [file]), [file]
    elif file and not file.with_name(CONFIG).is_file():
        raise WeightsError(f"{file} has no {CONFIG} beside it. Put it there, or name the model")
    else:
        folder = (
            file.parent if file else _find_folder(path, repo, subfolder, revision, model, published)
        )
        built, files = _build(folder, file, model)
    tokenizer = from_diffusers(built, weights=files, steps=steps)
    if model:
        expected: dict[str, Any] = {"class": config["_class_name"]} if config else {}
        if "latents" in published["confirmed"] and "normalisation" not in published:
            expected["scaling_factor"] = published.get("scaling_factor", 1.0)
            expected["shift_factor"] = published.get("shift_factor", 0.0)
        _check_identity(tokenizer, model, expected, LatentSpec(**known["latent"]))
    return tokenizer


def _build(folder: Path, file: Path | None, model: str) -> tuple[Any, list[Path]]:
    """Build the model of a folder from its weights, or from the given file alone."""
    refuse_pipeline(folder, folder)
    config = read_config(folder / CONFIG)
    name = config.get("_class_name")
    # The weights, which may be large, are read last.
    if name not in CLASSES:
        raise WeightsError(
            f"{folder}: no adapter for class {name}. Pass a model of {', '.join(CLASSES)}"
        )
    if not model and name == "ConsistencyDecoderVAE":
        raise WeightsError(f"{folder}: name it, as in consistency-decoder:path={folder}")
    files = [file] if file else find_weights(folder)
    return build_model(config, files, {AutoencoderSSDD.__name__: AutoencoderSSDD}), files


def _find_folder(
    path: str, repo: str, subfolder: str, revision: str, model: str, published: dict[str, Any]
) -> Path:
    if path:
        folder = Path(path) / subfolder
        inside = folder / published.get("folder", "")
        # The folder of a whole pipeline is enough for a named model.
        return folder if (folder / CONFIG).is_file() else inside
    if not repo and not model:
        raise WeightsError(
            "diffusers: no model was given. Pass a folder as path=DIR or a Hub id as repo=ID"
        )
    if not repo:
        repo, subfolder = published["hub"], subfolder or published.get("folder", "")
        revision = revision or published.get("revision", "")
        return fetch_model(repo, subfolder, revision, published.get("files", ()))
    return fetch_model(repo, subfolder, revision)


def _check_identity(
    tokenizer: Tokenizer, model: str, expected: dict[str, Any], latent: LatentSpec
) -> None:
    """Refuse another model under a published name, such as one without its scaling factor."""
    info = tokenizer.info()
    wrong = [
        f"its {key} is {info[key]}, the published one {value}"
        for key, value in expected.items()
        if key in info and info[key] != value
    ]
    if tokenizer.latent != latent:
        wrong.append(f"its latent is {tokenizer.latent}")
    if wrong:
        raise WeightsError(
            f"{tokenizer.weights[0]} is not {model} ({'; '.join(wrong)}). Load it as "
            f"diffusers:path=, or fix its {CONFIG}"
        )
