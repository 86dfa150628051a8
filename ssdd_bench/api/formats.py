"""Version of PyTorch, and formats of numbers and of memory that networks compute in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn

TORCH: Final = torch.__version__.partition("+")[0]
"""Version of PyTorch, on which numbers depend, without the kind of its build."""


def choose_memory_format(
    network: nn.Module, device: torch.device | str, dtype: torch.dtype
) -> torch.memory_format:
    """Choose ``torch.channels_last`` for a network where its kernels are faster.

    oneDNN's convolutions are on a CPU, and tensor cores in half precision. Inputs need no
    conversion: a convolution whose weights are channels-last converts its input.

    Args:
        network: any module; without 2D convolutions, or with 3D ones, it stays contiguous.
        device: that it runs on.
        dtype: of its weights.
    """
    dimensions = {parameter.dim() for parameter in network.parameters()}
    faster = {
        "cpu": (torch.float32, torch.bfloat16),
        "cuda": (torch.float16, torch.bfloat16),
    }
    if (
        4 in dimensions
        and 5 not in dimensions
        and dtype in faster.get(torch.device(device).type, ())
    ):
        return torch.channels_last
    return torch.contiguous_format


def has_kernels(dtype: torch.dtype, device: torch.device | str) -> bool:
    """Tell whether a device multiplies in a number format itself.

    PyTorch imitates half precision on any other CPU, where a convolution takes many times as long
    as in float32.
    """
    if torch.device(device).type != "cpu" or dtype not in (torch.bfloat16, torch.float16):
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def set_memory_format(networks: Iterable[nn.Module]) -> None:
    """Convert each network to the format of :func:`choose_memory_format` for where it lies."""
    for network in networks:
        first = next((one for one in network.parameters() if one.dim() == 4), None)
        if first is not None:
            network.to(memory_format=choose_memory_format(network, first.device, first.dtype))


class Precision:
    """A setting of how float32 may be rounded, by both of PyTorch's interfaces.

    PyTorch 2.9 has added a newer one. Where the two differ, getters of the older one raise errors,
    so both are always set.

    Args:
        get: read the older interface; where it raises an error, what it stands at most likely.
        put: set the older interface, and with it the parts.
        parts: owners of ``fp32_precision`` of the newer interface; none before PyTorch 2.9.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], object], *parts: Any) -> None:
        self._get, self._put, self._parts = get, put, parts

    def get(self) -> tuple[Any, ...]:
        """Read the older interface and each part; those of a part that has none are inherited."""
        return (self._get(), *(part.fp32_precision for part in self._parts))

    def put(self, value: tuple[Any, ...]) -> None:
        """Set what :meth:`get` has returned; what stands so already is not touched."""
        value = value[: 1 + len(self._parts)]
        if self.get() == value:
            return  # another thread may compute meanwhile
        self._put(value[0])
        for part, one in zip(self._parts, value[1:], strict=True):
            if part.fp32_precision != one:
                part.fp32_precision = one

    @staticmethod
    def effect(value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what a value does: no precision at all rounds as little as that of IEEE."""
        return tuple("ieee" if one == "none" else one for one in value)


def _get_matmul() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the newer interface was used alone
        return "highest"


def _get_cudnn() -> bool:
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:  # the interfaces differ
        return bool(_BACKENDS.cudnn.conv.fp32_precision != "tf32")


def _put_cudnn(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed


_BACKENDS: Any = torch.backends  # whose newer attributes older versions lack
_cuda, _cudnn, _cpu = _BACKENDS.cuda.matmul, _BACKENDS.cudnn, _BACKENDS.mkldnn
_newer = hasattr(_cuda, "fp32_precision")
_MATMUL = Precision(
    _get_matmul, torch.set_float32_matmul_precision, *((_cuda, _cpu.matmul) if _newer else ())
)
_CONVOLUTIONS = Precision(
    _get_cudnn, _put_cudnn, *((_cudnn.conv, _cudnn.rnn, _cpu.conv, _cpu.rnn) if _newer else ())
)
_INHERITED = Precision(lambda: None, lambda value: None, *((_BACKENDS, _cudnn) if _newer else ()))
PRECISIONS: Final[Mapping[str, Precision]] = {
    "float32": _INHERITED,  # comes first: the others may inherit it
    "matrix products": _MATMUL,
    "convolutions and RNNs": _CONVOLUTIONS,
}
"""All settings of how float32 may be rounded, by what they are of."""
with warnings.catch_warnings():  # PyTorch 2.9 warns of the older interface, once in a process
    warnings.simplefilter("ignore")
    _get_matmul()


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let CUDA's convolutions and matrix products round to TF32, or not, for a while.

    A CPU computes in float32 as it is. The settings before are restored, whichever of PyTorch's two
    interfaces they were made with; inside, both may be read, and agree.
    """
    rounded = "tf32" if allowed else "ieee"
    wanted = {
        _MATMUL: ("high" if allowed else "highest", rounded, "ieee"),
        _CONVOLUTIONS: (allowed, rounded, rounded, "ieee", "ieee"),
    }
    before = {one: one.get() for one in wanted}
    try:
        for one, value in wanted.items():
            one.put(value)
        yield
    finally:
        for one, value in before.items():
            one.put(value)
