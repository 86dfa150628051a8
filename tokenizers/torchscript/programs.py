"""Exported programs: functions of one tensor, or of latents and noise."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssdd_bench.errors import PluginError, ResolutionError, WeightsError


class Program(ABC):
    """A function of one tensor, or of latents and noise, read from a file.

    Attributes:
        inputs: number of tensors that it takes.
        module: network that can move to a GPU; None for a program that stays on the CPU.
        sides: height and width of its first input if the file states them, else None.

    Raises:
        WeightsError: the file is missing or damaged.
    """

    FORMAT: str
    inputs: int
    module: nn.Module | None = None
    sides: tuple[int, int] | None = None

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise WeightsError(f"{path}: no such file. Pass the path of an exported program")
        try:
            self._load()
        except Exception as error:  # the runtimes raise classes of their own
            kind = type(error).__name__
            raise WeightsError(
                f"{path}: no {self.FORMAT} file, or damaged ({kind}). Export it again"
            ) from error

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the program and return the first tensor of its result.

        Raises:
            ResolutionError: the file states another size.
            PluginError: the program fails, for example at a size that it was not exported for.
        """
        height, width = inputs[0].shape[-2:]
        if self.sides and self.sides != (height, width):
            raise ResolutionError(
                f"{self.path} was exported for inputs of {_size(*self.sides)}, not "
                f"{_size(height, width)}. Evaluate at the resolution of the export, or export it "
                "again for this one"
            )
        try:
            return self._run(*inputs)
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()[-1:]), "")
            shape = tuple(inputs[0].shape)
            raise PluginError(
                f"{self.path} fails on shape {shape}: {reason}. If it was exported for one size, "
                "evaluate at that and pass it as size"
            ) from error

    @abstractmethod
    def _load(self) -> None: ...

    @abstractmethod
    def _run(self, *inputs: Tensor) -> Tensor: ...


def _size(height: int, width: int) -> str:
    return f"{width} x {height}"


class TorchScriptProgram(Program):
    """A program that ``torch.jit.save`` wrote."""

    FORMAT = "TorchScript"

    def _load(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript as a whole is deprecated
            self.module = torch.jit.load(self.path, map_location="cpu").eval()
        for parameter in self.module.parameters():
            # Otherwise its graphs record gradients even in inference mode, where that fails.
            parameter.requires_grad_(False)
        forward: Any = self.module.forward
        self.inputs = len(forward.schema.arguments) - 1  # the first is the module
        match getattr(self.module, "sides", None):  # which `ssdd-bench export` writes
            case (int(height), int(width)):
                self.sides = (height, width)

    def _run(self, *inputs: Tensor) -> Tensor:
        assert self.module is not None
        module = self.module
        out = module(
            *(x.to(next(module.parameters(), x)) if x.is_floating_point() else x for x in inputs)
        )
        while isinstance(out, tuple | list):
            out = out[0]
        return out


class OnnxProgram(Program):
    """An ONNX file; images go through it one by one, on the CPU."""

    FORMAT = "ONNX"

    def _load(self) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            str(self.path), providers=["CPUExecutionProvider"]
        )
        self._inputs = self._session.get_inputs()
        self.inputs = len(self._inputs)
        sides = self._inputs[0].shape[-2:]  # a name stands for a side that may differ
        if len(self._inputs[0].shape) == 4 and all(isinstance(side, int) for side in sides):
            self.sides = (sides[0], sides[1])

    def _run(self, *inputs: Tensor) -> Tensor:
        narrow: dict[str, Any] = {"tensor(float16)": np.float16, "tensor(int32)": np.int32}
        given = {}
        for place, x in zip(self._inputs, inputs, strict=True):
            values = x.cpu().numpy()
            given[place.name] = values.astype(narrow.get(place.type, values.dtype))
        arrays = [
            self._session.run(None, {name: x[index : index + 1] for name, x in given.items()})[0]
            for index in range(len(inputs[0]))
        ]
        return torch.from_numpy(np.concatenate(arrays)).to(inputs[0].device)
