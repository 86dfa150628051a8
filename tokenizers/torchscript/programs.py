"""Exported programs: functions of one tensor."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssdd_bench.errors import PluginError, WeightsError


class Program(ABC):
    """A function of one tensor, read from a file.

    Attributes:
        path: the file.
        module: network that can move to a GPU; None for a program that stays on the CPU.
    """

    path: Path
    module: nn.Module | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Run the program and return the first tensor of its result.

        Raises:
            PluginError: the program fails, for example at a size that it was not exported for.
        """
        try:
            return self._run(x)
        except Exception as error:  # the runtimes raise classes of their own
            reason = next(iter(str(error).strip().splitlines()[-1:]), "")
            raise PluginError(f"{self.path} fails on shape {tuple(x.shape)}: {reason}") from error

    @abstractmethod
    def _run(self, x: Tensor) -> Tensor: ...


class TorchScriptProgram(Program):
    """A program that ``torch.jit.save`` wrote.

    Raises:
        WeightsError: the file is missing or damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = _existing(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript as a whole is deprecated
                module = torch.jit.load(self.path, map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise WeightsError(
                f"{path}: not a TorchScript file, or damaged. Export it again"
            ) from error
        self.module = module.eval()

    def _run(self, x: Tensor) -> Tensor:
        assert self.module is not None
        parameter = next(self.module.parameters(), x)
        if x.is_floating_point():
            x = x.to(parameter.dtype)
        # Its graphs record gradients even where torch was told not to.
        return _first(self.module(x)).detach()


class OnnxProgram(Program):
    """An ONNX file with one input; images go through it one by one.

    Raises:
        WeightsError: the file is missing or damaged.
    """

    def __init__(self, path: str) -> None:
        import onnxruntime

        self.path = _existing(path)
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # classes of its own, which derive from nothing narrower
            raise WeightsError(f"{path}: not an ONNX file, or damaged. Export it again") from error
        self._input = self._session.get_inputs()[0]

    def _run(self, x: Tensor) -> Tensor:
        narrow: dict[str, Any] = {"tensor(float16)": np.float16, "tensor(int32)": np.int32}
        kind = narrow.get(self._input.type, x.numpy().dtype)
        arrays = [
            self._session.run(None, {self._input.name: one.numpy().astype(kind)})[0]
            for one in x.split(1)
        ]
        return torch.from_numpy(np.concatenate(arrays))


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file. Pass the path of an exported program")
    return Path(path)


def _first(out: Any) -> Tensor:
    while isinstance(out, tuple | list):
        out = out[0]
    made: Tensor = out
    return made
