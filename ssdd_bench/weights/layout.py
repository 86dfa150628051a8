"""Find the configuration and the weights of a model that diffusers saved, in one file or several.

Names are those of a folder or of a repository on the Hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.detect import CONFIG as CONFIG  # as a part of this module
from ssdd_bench.plugins.detect import PIPELINE_PART

STEM: Final = "diffusion_pytorch_model"
WEIGHTS: Final = f"{STEM}.safetensors"
INDEX: Final = f"{WEIGHTS}.index.json"
"""Lists the files, called shards, that together hold the weights."""
PICKLE: Final = f"{STEM}.bin"
VARIANT: Final = re.compile(rf"{STEM}\.(\w+)\.safetensors")
INDEX_OF_VARIANT: Final = re.compile(rf"{STEM}\.safetensors\.index\.(\w+)\.json")
SHARD: Final = re.compile(r"\w[\w.-]*\.safetensors")  # not a path, nor a pattern


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object, such as the config.json of a model or the card beside weights."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: {error.strerror or error}. Pass a folder in the layout of diffusers"
        ) from error
    except (ValueError, RecursionError) as error:  # the latter for brackets in brackets
        raise WeightsError(f"{path}: damaged JSON: {error}") from error
    if not isinstance(data, dict):
        raise WeightsError(f"{path}: not a JSON object")
    return data


def refuse_pipeline(folder: Path, where: object) -> None:
    """Raise ``WeightsError`` for a pipeline, whose autoencoder lies in a folder of it."""
    if not (folder / CONFIG).is_file() and (folder / PIPELINE_PART / CONFIG).is_file():
        raise WeightsError(f"{where} is a pipeline. Pass subfolder={PIPELINE_PART}")


def choose_weights(names: Iterable[str], where: object) -> str:
    """Choose the weights, or the index of their shards, among the files beside a config.json.

    The order is that of diffusers: the index, one file, a pickle. A variant, such as fp16, is
    taken if there is nothing else.

    Args:
        names: of the files.
        where: folder or repository, for messages.

    Returns:
        One of the names; that of one file if there are no weights.

    Raises:
        WeightsError: there are several variants, or only files that are not read.
    """
    present = set(names)
    for name in (INDEX, WEIGHTS, PICKLE):
        if name in present:
            return name
    variants = {
        match[1]: match[0]
        for kind in (VARIANT, INDEX_OF_VARIANT)  # of a variant, too, the index is preferred
        for name in present
        if (match := kind.fullmatch(name))
    }
    if len(variants) > 1:
        raise WeightsError(
            f"{where} has no {WEIGHTS} but the variants {', '.join(sorted(variants))}. Load one "
            "with its class, and save it by save_pretrained"
        )
    if variants:
        return variants.popitem()[1]
    if others := sorted(name for name in present if name.startswith(STEM)):
        raise WeightsError(
            f"{where} has {others[0]} and no {WEIGHTS}. Load the model with its class, and save "
            "it by save_pretrained"
        )
    return WEIGHTS


def find_weights(folder: Path) -> list[Path]:
    """Return the weights files of a folder; see :func:`choose_weights`.

    Raises:
        WeightsError: an index is damaged, or names a file that is not here.
    """
    name = choose_weights((path.name for path in folder.iterdir()), folder)
    if not is_index(name):
        return [folder / name]
    shards = read_index(folder / name)
    if missing := [shard for shard in shards if not (folder / shard).is_file()]:
        raise WeightsError(
            f"{folder} has {len(shards) - len(missing)} of the {len(shards)} files of {name}: "
            f"{missing[0]} is missing. Copy it too, or save the model again"
        )
    return [folder / shard for shard in shards]


def is_index(name: str) -> bool:
    """Return True if a file lists weights files, and holds none itself."""
    return name == INDEX or INDEX_OF_VARIANT.fullmatch(name) is not None


def read_index(path: Path) -> tuple[str, ...]:
    """Return the names of the files that an index lists, in the order of the alphabet.

    Raises:
        WeightsError: it is damaged, or names something else than a safetensors file beside it.
    """
    places = read_config(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{path} has no weight_map. Save the model again by save_pretrained")
    for shard in places.values():
        if not isinstance(shard, str) or not SHARD.fullmatch(shard):
            raise WeightsError(
                f"{path} names {shard!r}, which is no safetensors file of its folder. Save the "
                "model again by save_pretrained"
            )
    return tuple(sorted(set(places.values())))
