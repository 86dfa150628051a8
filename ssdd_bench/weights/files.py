"""Read weight files, without executing anything in them; errors are of one line.

Torch is imported on use.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssdd_bench.errors import OptionError, WeightsError, reason_of
from ssdd_bench.weights.blocks import unpack

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER = "weights"  # of a plugin
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
POINTER_START = b"version https://git-lfs.github.com/spec/"
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
CONVERT = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "save_file(torch.load('{}', weights_only=True), '{}')\""
)
SHOWN = 3  # names per kind of mismatch in a message
DEFAULT_F = 8  # pixels per latent cell along one side


def shipped_or_given(plugin: Path, f: int, given: str) -> Path:
    """Return the path of the user's file, or of the mini weights in a plugin's folder.

    Args:
        plugin: the plugin's folder, with whose name the files begin.
        f: pixels per latent cell of the mini weights; ``DEFAULT_F`` beside a file.
        given: path of the user's file; "" for the mini weights.
    """
    if not given:
        return plugin / FOLDER / f"{plugin.name}-mini-f{f}c4.safetensors"
    if f != DEFAULT_F:
        raise OptionError(
            f"{plugin.name}: f={f} chooses among the mini weights, but {given} has its own f. "
            "Leave one of the two out"
        )
    return Path(given).expanduser()


def existing_file(path: Path | str) -> Path:
    """Return the path of a weights file that is there.

    Raises:
        WeightsError: it is not.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file. Pass the path of a weights file")
    return path


def sha256_file(path: Path | str) -> str:
    """Compute the checksum of a file: 64 lower-case hexadecimal digits."""
    path = existing_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def load_safetensors(path: Path | str) -> dict[str, Tensor]:
    """Read every tensor of a file to the CPU, in the dtype it was stored in.

    Weights in eight bits are read as float32, see :mod:`ssdd_bench.weights.blocks`.
    """
    path = existing_file(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        _refuse_pointer(path, error)
        if is_pickle(path):
            raise WeightsError(
                f"{path} is a pickle, which is not read here. Convert its tensors: "
                f"{CONVERT.format(path.name, path.with_suffix('.safetensors').name)}"
            ) from error
        raise WeightsError(
            f"{path}: damaged or not a safetensors file ({reason_of(error)}). Fetch or export it "
            "again"
        ) from error
    try:
        return unpack(stored)
    except WeightsError as error:
        raise WeightsError(f"{path}: damaged: {error}. Fetch or export it again") from error


def is_pickle(path: Path) -> bool:
    """Return True for a file of ``torch.save``, by its first bytes; it is not unpickled."""
    head = _head(path, 9)  # safetensors has the length of its header, then "{"
    return head.startswith(PICKLE_STARTS) and not head.endswith(b"{")


def _refuse_pointer(path: Path, error: Exception) -> None:
    """Raise ``WeightsError`` if a clone has only the pointer of Git LFS in place of the file."""
    if _head(path, len(POINTER_START)) == POINTER_START:
        raise WeightsError(
            f"{path} is a pointer of Git LFS, not the file. Run git lfs pull in its folder"
        ) from error


def _head(path: Path, count: int) -> bytes:
    """Read the first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def load_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a pickle, as :func:`load_safetensors`."""
    path = existing_file(path)
    if path.suffix not in PICKLES:
        return load_safetensors(path)
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        _refuse_pointer(path, error)
        raise WeightsError(
            f"{path}: damaged, or holds more than tensors ({type(error).__name__}). Fetch it "
            "again, or save its state dict alone, as safetensors"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise WeightsError(f"{path}: not a dictionary of named tensors. Save the state dict alone")
    return state


def load_strict(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy tensors into a module, all of them or none, in the module's own dtypes.

    ``WeightsError``, with the name of the file, if a name is missing or unexpected, or a shape
    differs, or one is a real number and the other is not.
    """
    expected = module.state_dict()
    misshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    strange = [
        f"{name} {state[name].dtype} instead of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in state and state[name].is_floating_point() != tensor.is_floating_point()
    ]
    kinds = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": misshaped,
        "of another kind of number": strange,
    }
    problems = [f"{len(names)} {kind}: {_first(names)}" for kind, names in kinds.items() if names]
    if problems:
        raise WeightsError(
            f"{path}: does not fit {type(module).__name__} ({'; '.join(problems)}). "
            "Use the weights and the configuration of the same model"
        )
    module.load_state_dict(state)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
