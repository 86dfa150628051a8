"""Settings of execution: number format, compilation and memory format of a tokenizer's networks.

They hold for one evaluation: afterwards the networks are as they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.api.formats import choose_memory_format, tf32
from ssdd_bench.api.memory import OOMSplitter
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.arguments import check_choice
from ssdd_bench.errors import UserError
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import Compilation, NumberFormat

LayoutChoice = Literal["auto", "contiguous", "channels_last"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
MODES = {  # of torch.compile, by compilation and CUDA graphs
    ("default", False): "default",
    ("default", True): "reduce-overhead",
    ("max-autotune", False): "max-autotune-no-cudagraphs",
    ("max-autotune", True): "max-autotune",
}
RECOMPILE_LIMIT = 256
"""Graphs per function: each size of image and of batch takes one. PyTorch's 8 fall back to eager
execution without a word."""


def format_name(dtype: NumberFormat | torch.dtype | None) -> NumberFormat | None:
    """Return the name of a number format; :class:`ExecutionSettings` refuses what has none."""
    if not isinstance(dtype, torch.dtype):
        return dtype
    names = {kind: name for name, kind in DTYPES.items()}
    return cast("NumberFormat", names.get(dtype, str(dtype)))


@dataclass(frozen=True)
class ExecutionSettings:
    """Settings of execution of a tokenizer's networks.

    Attributes:
        dtype: format of the weights; images, noise and the state of a solver stay in float32.
            None takes that of the protocol, and its autocast.
        compile: ``torch.compile`` of each network with fixed shapes.
        memory_format: of 4-d weights; ``auto`` is the faster one, see
            :func:`ssdd_bench.api.formats.choose_memory_format`.
        cuda_graphs: replay the kernels of a compiled network as one graph; needs a GPU.

    Raises:
        UserError: a value is none of those.
    """

    dtype: NumberFormat | None = None
    compile: Compilation = "off"
    memory_format: LayoutChoice = "auto"
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None:
            check_choice("dtype", self.dtype, get_args(NumberFormat))
        check_choice("compile", self.compile, get_args(Compilation))
        check_choice("memory_format", self.memory_format, get_args(LayoutChoice))

    def check(self, device: torch.device) -> None:
        """Refuse what the device cannot do.

        Raises:
            UserError: CUDA graphs on a CPU, or without compilation.
        """
        if self.cuda_graphs and device.type != "cuda":
            raise UserError(
                f"CUDA graphs need a GPU, the device is {device.type}: leave cuda_graphs out"
            )
        if self.cuda_graphs and self.compile == "off":
            raise UserError("CUDA graphs are made by torch.compile: set compile to default too")

    def name(self, protocol: Protocol) -> str:
        """Name what differs from the protocol and the defaults; "" if nothing does."""
        same = self.dtype in (None, protocol.number_format)
        parts = [
            "" if same else str(self.dtype),
            {"off": "", "default": "compiled"}.get(self.compile, self.compile),
            "" if self.memory_format == "auto" else self.memory_format,
            "CUDA graphs" if self.cuda_graphs else "",
        ]
        return ", ".join(filter(None, parts))

    def differences(self, protocol: Protocol) -> dict[str, Any]:
        """Return the settings that differ from the protocol and the defaults, for fingerprints."""
        found = {
            key: value
            for key, value in asdict(self).items()
            if value != getattr(DEFAULT_EXECUTION, key)
        }
        if self.dtype == protocol.number_format:
            del found["dtype"]
        return found

    def warnings(self, protocol: Protocol) -> Iterator[str]:
        """Say that the number format is not the protocol's."""
        if self.dtype not in (None, protocol.number_format):
            yield (
                f"networks in {self.dtype}, which is not the format of {protocol.id}, "
                f"{protocol.number_format}"
            )

    def applied_to(self, protocol: Protocol) -> Protocol:
        """Return the protocol with the number format that the networks compute in."""
        if self.dtype is None:
            return protocol
        return replace(protocol, dtype=self.dtype, autocast="none")

    def for_tokenizer(self, tokenizer: Tokenizer) -> ExecutionSettings:
        """Return the settings that concern a tokenizer: the defaults if it has no networks."""
        return self if tokenizer.networks() else DEFAULT_EXECUTION


DEFAULT_EXECUTION = ExecutionSettings()


class PreparedTokenizer:
    """A tokenizer whose networks are in the formats of one evaluation, see :func:`prepare`.

    Attributes:
        tokenizer: ready to run.
        protocol: how it runs.
        device: where it runs.
        is_exact: True if it is what :meth:`float32` gives, so that no output can differ.
        compile_s: seconds of compilation and the first call; None without compilation.
        splitter: knows the batch that fits, as far as it was tried.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        protocol: Protocol,
        device: torch.device,
        settings: ExecutionSettings,
        batch: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.compile_s: float | None = None
        self.splitter = OOMSplitter(batch, device)
        self.protocol, self.device, self._settings = protocol, device, settings
        self._networks = list(tokenizer.networks().values())
        self._forwards: dict[nn.Module, Callable[..., Any]] = {}
        self._before = _Weights(self._networks)
        self._convert("float32", "auto")
        self._reference = _Weights(self._networks)
        same = self._convert(protocol.dtype, settings.memory_format)
        self.is_exact = (
            same
            and settings.compile == "off"
            and protocol.number_format == "float32"
            and not (protocol.tf32 and device.type == "cuda")
        )

    def _convert(self, dtype: NumberFormat, memory_format: LayoutChoice) -> bool:
        """Convert all networks; return True if the memory format is the automatic one."""
        self.tokenizer.to(self.device, DTYPES[dtype])
        same = True
        for network in self._networks:
            automatic = choose_memory_format(network, self.device, DTYPES[dtype])
            chosen = LAYOUTS.get(memory_format, automatic)
            dimensions = {one.dim() for one in network.parameters()}
            if 4 in dimensions and 5 not in dimensions:  # 5-d weights have no such format
                network.to(memory_format=chosen)
                same = same and chosen == automatic
        return same

    def compile(self, resolution: int) -> None:
        """Compile the networks for the largest batch that fits, and time it with the first call.

        Args:
            resolution: side of the images in pixels.

        Raises:
            UserError: a network is a program that was exported already, or not even one image fits
                into memory.
        """
        settings = self._settings
        mode = MODES[settings.compile, settings.cuda_graphs]
        for part in callable_parts(self._networks):
            if isinstance(part, torch.jit.ScriptModule):
                raise UserError("an exported program cannot be compiled: leave compile out")
            forward = torch.compile(part.forward, dynamic=False, mode=mode)
            self._forwards[part] = _cloning(forward) if settings.cuda_graphs else forward
        self._use_compiled()
        call = partial(self._first_call, resolution)
        size = self.splitter.size
        seconds = self.splitter.attempt(partial(call, size), size)
        if seconds is None:
            # To compile anew for every half would take minutes each: eager calls find what fits.
            torch.compiler.reset()  # frees the graphs that did not
            self._use_eager()
            self.splitter.fit(call)
            self._use_compiled()
            seconds = self.splitter.fit(call)
        self.compile_s = seconds

    def _first_call(self, resolution: int, batch: int) -> float:
        """Encode and decode once, and return the seconds that it takes."""
        ids = [str(index) for index in range(batch)]
        images = torch.full((batch, 3, resolution, resolution), 0.5, device=self.device)
        started = time.perf_counter()
        with torch.inference_mode(), autocast(self.device, self.protocol):
            sampled = self.protocol.posterior == "sample"
            noise = KeyedNoise(0, ids, "encode") if sampled else None
            latent = self.tokenizer.encode(images, noise)
            self.tokenizer.decode(latent, KeyedNoise(0, ids, "decode"))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - started

    def _use_compiled(self) -> None:
        for part, forward in self._forwards.items():
            vars(part)["forward"] = forward  # hides the method of the class

    def _use_eager(self) -> None:
        for part in self._forwards:
            vars(part).pop("forward", None)

    @contextmanager
    def float32(self) -> Iterator[Tokenizer]:
        """Put the networks into float32 and eager execution for a while."""
        now = _Weights(self._networks)
        self._use_eager()
        self._reference.put_back()
        try:
            with tf32(False), torch.autocast(self.device.type, enabled=False):
                yield self.tokenizer
        finally:
            now.put_back()
            self._use_compiled()

    def close(self) -> None:
        """Leave the networks as they were."""
        self._use_eager()
        self._before.put_back()
        if self._forwards:
            torch.compiler.reset()  # frees graphs and what they hold of a GPU's memory


@contextmanager
def prepare(
    tokenizer: Tokenizer,
    protocol: Protocol,
    device: torch.device,
    settings: ExecutionSettings,
    resolution: int,
    batch: int,
    guard: Guard | None = None,
) -> Iterator[PreparedTokenizer]:
    """Put a tokenizer's networks into the formats of an evaluation, and back afterwards.

    Args:
        tokenizer: in evaluation mode.
        protocol: already with :meth:`ExecutionSettings.applied_to`.
        device: to run on.
        settings: of execution.
        resolution: side of the images in pixels; compiled networks are tried out on it.
        batch: images per call, likewise; halved until they fit into memory.
        guard: of the tokenizer's calls; by default one of its own.

    Raises:
        UserError: the device cannot do it, or has no memory for one image.
    """
    settings.check(device)
    guard = guard or Guard(type(tokenizer).__name__)
    with tf32(protocol.tf32):
        with guard.calls():
            prepared = PreparedTokenizer(tokenizer, protocol, device, settings, batch)
        try:
            with ExitStack() as stack:
                if settings.compile != "off":
                    from torch import _dynamo

                    new = hasattr(_dynamo.config, "recompile_limit")
                    limit = "recompile_limit" if new else "cache_size_limit"
                    stack.enter_context(_dynamo.config.patch({limit: RECOMPILE_LIMIT}))
                    with guard.calls():
                        prepared.compile(resolution)
                yield prepared
        finally:
            prepared.close()


def autocast(device: torch.device, protocol: Protocol) -> torch.autocast:
    """Return the context that networks under test run in, timed or not; metrics run outside it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=protocol.autocast == "bfloat16")


def callable_parts(networks: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the modules that are called: lists of modules are not, their items are."""
    for network in networks:
        if isinstance(network, nn.ModuleList):
            yield from callable_parts(network)
        else:
            yield network


class _Weights:
    """The tensors of some networks at one time."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        modules = [module for network in networks for module in network.modules()]
        self._parameters = [
            (one, one.data) for module in modules for one in module.parameters(recurse=False)
        ]
        self._buffers = [
            (module, name, one)
            for module in modules
            for name, one in module.named_buffers(recurse=False)
        ]

    def put_back(self) -> None:
        for parameter, data in self._parameters:
            parameter.data = data
        for module, name, buffer in self._buffers:
            setattr(module, name, buffer)


def _cloning(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Copy the outputs of CUDA graphs, which the next call overwrites."""

    def call(*inputs: Any, **options: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return clone_tensors(forward(*inputs, **options))

    return call


def clone_tensors(value: Any) -> Any:
    """Copy the tensors in tuples, lists, tables and dataclasses."""
    if isinstance(value, Tensor):
        return value.clone()
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            object.__setattr__(value, one.name, clone_tensors(getattr(value, one.name)))
        return value
    if isinstance(value, dict):
        for key in value:
            value[key] = clone_tensors(value[key])
        return value
    if isinstance(value, list | tuple):
        items = [clone_tensors(one) for one in value]
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    return value
