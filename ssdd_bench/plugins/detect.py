"""Tell what kind of model a file or folder holds, by its content; nothing in it is executed."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ssdd_bench.errors import OptionError, counted
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.manifest import FILE_NAME, Kind

Shapes = Mapping[str, tuple[int, ...]]

ROLES: Final = ("encoder", "decoder")
CONFIG: Final = "config.json"
PIPELINE_PART: Final = "vae"  # folder of the autoencoder in a pipeline of diffusers
SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".jit", ".ts", ".onnx")
ZIP: Final = b"PK\x03\x04"
PICKLE: Final = b"\x80"
ONNX: Final = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x2a\x32\x3a\x42]", re.DOTALL)
"""Start of an ONNX file: its version in the first field, then another field of the model."""
SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.")  # of weights in several files
HEADER_BYTES: Final = 100_000_000  # the longest header that safetensors reads

SSDD: Final = re.compile(r"decoder\.ada_ctx_proj\..+")
TAESD: Final = re.compile(r"((?P<role>encoder|decoder)\.layers\.)?(?P<layer>\d+)\.(?P<rest>.+)")
KL: Final = ("encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight")


@dataclass(frozen=True)
class Model:
    """A model that was found.

    Attributes:
        kind: of the model.
        files: file or folder of it; of programs, the encoder's and the decoder's.
        words: its kind for messages.
        f: pixels per latent cell along one side; None if the content does not tell.
        channels: of the latents; likewise.
    """

    kind: Kind
    files: tuple[Path, ...]
    words: str
    f: int | None = None
    channels: int | None = None


def detect(path: Path) -> Model:
    """Tell what a file or a folder holds.

    Raises:
        OptionError: nothing that is known, or several models.
    """
    return _in_folder(path) if path.is_dir() else _in_file(path)


def _in_folder(folder: Path) -> Model:
    for inside in (folder, folder / PIPELINE_PART):
        if name := _class_name(inside / CONFIG):
            return Model("diffusers-model", (inside,), f"diffusers {name}")
    files = [one for one in sorted(folder.iterdir()) if one.suffix in SUFFIXES and one.is_file()]
    if len(files) == 1:
        return _in_file(files[0])
    pairs = [[one for one in files if role in one.name.lower()] for role in ROLES]
    if all(len(one) == 1 for one in pairs):
        encoder, decoder = (_in_file(one) for (one,) in pairs)
        if encoder.kind == decoder.kind == "tiny-autoencoder":
            return replace(encoder, files=(folder,))
        if encoder.kind == decoder.kind:
            both = encoder.files + decoder.files
            return replace(encoder, files=both, words=f"{encoder.words}s")
    if not files:
        _refuse_plugin(folder)
    names = ", ".join(one.name for one in files[:3])
    what = (
        f"{counted(len(files), 'weights file')} ({names})"
        if files
        else f"neither {CONFIG} nor weights"
    )
    raise OptionError(f"{folder} has {what}. Name one file, or a folder with one model")


def _refuse_plugin(folder: Path) -> None:
    """Raise an error that tells how to use a plugin, or a folder of plugins, by its id."""
    own = (folder / FILE_NAME).is_file()
    if own or any(folder.glob(f"*/{FILE_NAME}")):
        parent = (folder.parent if own else folder).resolve()
        raise OptionError(
            f"{folder} is no model but holds a plugin. Run export {VARIABLE}={parent} and name the "
            "plugin by its id"
        )


def _in_file(file: Path) -> Model:
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
            length = int.from_bytes(head, "little")
            # Before a pickle is looked for: the length of a header may begin like one.
            if 0 < length < HEADER_BYTES and stream.read(1) == b"{":
                header = json.loads(b"{" + stream.read(length - 1))
                return _of_header(header, file)
            if head.startswith(ZIP) and _is_program(file):
                return Model("torchscript-program", (file,), "TorchScript program")
            if head.startswith((ZIP, PICKLE)):
                return _of_tensors(_read_pickle(file), file)
            if ONNX.match(head):
                return Model("onnx-program", (file,), "ONNX program")
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise OptionError(f"{file}: damaged, or no weights ({type(error).__name__})") from error
    raise OptionError(f"{file}: neither safetensors, a pickle of tensors, TorchScript nor ONNX")


def _of_header(header: dict[str, Any], file: Path) -> Model:
    tensors = {
        name: one
        for name, one in header.items()
        if name != "__metadata__" and isinstance(one, dict)
    }
    return _of_tensors({name: tuple(one.get("shape", ())) for name, one in tensors.items()}, file)


def _is_program(file: Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any("/code/" in name for name in archive.namelist())


def _read_pickle(file: Path) -> Shapes:
    import torch

    try:
        state = torch.load(file, map_location="meta", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError from error
    if not isinstance(state, dict):
        raise ValueError("no dictionary")
    return {str(name): tuple(getattr(value, "shape", ())) for name, value in state.items()}


def _of_tensors(shapes: Shapes, file: Path) -> Model:
    if any(map(SSDD.fullmatch, shapes)):
        return Model("ssdd-checkpoint", (file,), "SSDD checkpoint")
    layers = {name: match for name in shapes if (match := TAESD.fullmatch(name))}
    if layers and len(layers) == len(shapes):
        encoder = {
            f"{match['layer']}.{match['rest']}": shapes[name]
            for name, match in layers.items()
            if match["role"] != "decoder"
        }
        return Model(
            "tiny-autoencoder", (file,), "tiny autoencoder (TAESD)", *_latent_of_taesd(encoder)
        )
    if name := _class_name(file.parent / CONFIG):
        whole = file.parent if SHARD.search(file.name) else file
        return Model("diffusers-model", (whole,), f"diffusers {name}")
    if all(name in shapes for name in KL):
        return Model("autoencoder-kl", (file,), "weights of an AutoencoderKL")
    shown = ", ".join(sorted(shapes)[:3])
    raise OptionError(
        f"{file}: {counted(len(shapes), 'tensor')} of an unknown model, such as {shown}"
    )


def _latent_of_taesd(encoder: Shapes) -> tuple[int | None, int | None]:
    """Return f and channels: a convolution halves if it has no bias or is activated."""
    layers = {int(name.partition(".")[0]) for name in encoder}
    plain = {layer for layer in layers if f"{layer}.weight" in encoder}
    if not plain:
        return None, None
    last = max(layers)
    halves = [
        layer
        for layer in plain
        if f"{layer}.bias" not in encoder or (layer < last and layer + 1 not in layers)
    ]
    return 2 ** len(halves), encoder[f"{max(plain)}.weight"][0]


def _class_name(config: Path) -> str:
    """Return the class that a configuration of diffusers names; "" if there is none."""
    try:
        data = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    name = data.get("_class_name", "") if isinstance(data, dict) else ""
    return name if isinstance(name, str) else ""
