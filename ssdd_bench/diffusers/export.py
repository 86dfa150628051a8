"""Write an autoencoder for other programs: a folder of diffusers, ONNX or TorchScript."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.api.formats import TORCH
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.diffusers.autoencoder import AutoencoderSSDD
from ssdd_bench.diffusers.programs import DecoderProgram, EachImage, EachPair, EncoderProgram
from ssdd_bench.errors import OutputError, PluginError, UserError, reason_of
from ssdd_bench.install import install_command
from ssdd_bench.plugins.adapters.autoencoder import Autoencoder, SSDDAutoencoder
from ssdd_bench.results.files import write_atomically
from ssdd_bench.weights.layout import INDEX

SUFFIXES: Final = {"onnx": ".onnx", "torchscript": ".jit"}
TOLERANCE: Final = 1e-3
"""Largest difference of pixels in [-1, 1], and of latents, between a program and its network."""


def as_autoencoder(tokenizer: Tokenizer) -> Any:
    """Return a tokenizer's networks as an autoencoder of diffusers.

    Args:
        tokenizer: one with SSDD's networks, or one made of an image autoencoder of diffusers.

    Raises:
        PluginError: it is of another kind.
    """
    if type(tokenizer) in (Autoencoder, SSDDAutoencoder):
        return tokenizer.model  # type: ignore[attr-defined]
    return AutoencoderSSDD.from_tokenizer(tokenizer)


def export_folder(model: Any, out: Path) -> dict[str, float]:
    """Write what ``from_pretrained`` of the model's class reads.

    Raises:
        OutputError: the folder cannot be written, or holds weights in several files.
    """
    if (out / INDEX).exists():
        raise OutputError(
            f"{out} has {INDEX}, the index of other weights, which would be read in place of "
            "these. Choose another folder"
        )
    with tempfile.TemporaryDirectory() as name:
        model.save_pretrained(name)
        for file in sorted(Path(name).iterdir()):
            write_atomically(out / file.name, partial(shutil.copyfile, file))
    return {}


def export_programs(
    model: Any,
    out: Path,
    format: Literal["onnx", "torchscript"],
    side: int = 256,
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Write the encoder and the decoder as programs, and compare each with its network.

    A program takes images of one size. The encoder maps them, in [-1, 1], to the posterior's mode.
    The decoder of SSDD takes standard normals of the images' shape after the latents.

    Args:
        model: an autoencoder of diffusers, or :class:`AutoencoderSSDD`, on the CPU in float32; its
            convolutions get the contiguous memory format.
        out: folder.
        format: of the files ``encoder`` and ``decoder``.
        side: of the images in pixels.
        tolerance: largest difference from the network that is accepted.

    Returns:
        The largest difference from the network, by name of the file.

    Raises:
        OutputError: the folder cannot be written, or a difference is larger.
        PluginError: PyTorch cannot export the network, or a library is missing.
        ResolutionError: the networks do not take images of this size.
    """
    model = model.eval().to(memory_format=torch.contiguous_format)
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder, decoder = EncoderProgram(model), DecoderProgram(model)
    with torch.no_grad():
        inputs: tuple[Tensor, ...] = (encoder(images),)
    if isinstance(model, AutoencoderSSDD):
        inputs += (KeyedNoise(0, ["0"], "decode").normal((3, side, side)),)
    write = _write_onnx if format == "onnx" else _write_torchscript
    found: dict[str, float] = {}

    def export(name: str, program: nn.Module, examples: tuple[Tensor, ...], target: Path) -> None:
        try:
            found[name] = write(program, examples, target)
        except (UserError, OSError):
            raise
        except Exception as error:  # of any kind: exporters are large programs
            raise PluginError(
                f"PyTorch {TORCH} cannot export {name}: {reason_of(error)}. Another version may"
            ) from error
        if not found[name] <= tolerance:
            raise OutputError(
                f"{name} differs from the network by {found[name]:.2g}, more than the tolerance "
                f"{tolerance:g}. Pass a larger one if that is enough for you"
            )

    for role, program, examples in (("encoder", encoder, (images,)), ("decoder", decoder, inputs)):
        name = f"{role}{SUFFIXES[format]}"
        write_atomically(out / name, partial(export, name, program, examples))
    return found


def _write_torchscript(program: nn.Module, examples: tuple[Tensor, ...], path: Path) -> float:
    with _quiet(), torch.no_grad():
        exported = torch.export.export(program, examples, strict=False).module()
        traced = torch.jit.trace(exported, examples, check_trace=False)
        kind = EachImage if len(examples) == 1 else EachPair
        height, width = examples[0].shape[-2:]
        torch.jit.script(kind(traced, (height, width))).save(str(path))
        loaded = torch.jit.load(str(path))
        return _difference(loaded(*examples), program(*examples))


def _write_onnx(program: nn.Module, examples: tuple[Tensor, ...], path: Path) -> float:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise PluginError(f"onnx needs {error.name}: {install_command('onnx')}") from error
    with _quiet(), torch.no_grad():
        exported = torch.export.export(program, examples, strict=False)
        names = ["input", "noise"][: len(examples)]
        torch.onnx.export(
            exported,
            examples,
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=names,
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        arrays = {name: one.numpy() for name, one in zip(names, examples, strict=True)}
        (out,) = session.run(None, arrays)
        return _difference(torch.from_numpy(out), program(*examples))


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return (found - expected).abs().max().item()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters; TorchScript as a whole is deprecated."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
