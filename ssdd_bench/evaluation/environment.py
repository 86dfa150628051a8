"""Records of the machine, the libraries and the settings of execution of a measurement."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from torch import nn

import ssdd_bench
from ssdd_bench.arguments import whole
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.memory import freed_memory_is_kept
from ssdd_bench.launch.processes import cores, own_cores
from ssdd_bench.results.schema import ExecutionRecord

MemoryFormat = Literal["contiguous", "channels_last", "mixed", "none"]

MOST_WORKERS = 16
"""Loading threads at most, unless told otherwise."""

LIBRARIES = (
    "numpy",
    "pillow",
    "torchmetrics",
    "torch-fidelity",
    "lpips",
    "dreamsim",
    "timm",
    "torchvision",
    "diffusers",
)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Collect versions and hardware; no name of a person or a folder is among them."""
    return {
        "ssdd_bench": ssdd_bench.__version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "gpu_driver": _gpu_driver() if device.type == "cuda" else None,
        "cuda": torch.version.cuda,
        "torch": str(torch.__version__),
        **{name: _version(name) for name in LIBRARIES},
    }


def describe_execution(
    device: torch.device, networks: Iterable[nn.Module] = (), dtype: str = "float32"
) -> ExecutionRecord:
    """Collect the settings of execution of this process.

    Args:
        device: of the networks.
        networks: those whose memory format counts.
        dtype: number format that they compute in, see ``Settings.number_format`` of a protocol.
    """
    cuda = device.type == "cuda"
    return ExecutionRecord(
        device=device_name(device),
        threads=torch.get_num_threads(),
        dtype=dtype,
        memory_format=memory_format(networks),
        kept_memory=freed_memory_is_kept(),
        cpu_kernels=torch.backends.cpu.get_cpu_capability(),
        onednn=torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled),
        cudnn=torch.backends.cudnn.version() if cuda else None,
    )


def memory_format(networks: Iterable[nn.Module]) -> MemoryFormat:
    """Return the memory layout of the weights of convolutions, where one can tell."""
    formats: set[MemoryFormat] = set()
    for weight in chain.from_iterable(network.parameters() for network in networks):
        channels_last = weight.dim() == 4 and weight.is_contiguous(
            memory_format=torch.channels_last
        )
        if weight.dim() == 4 and not (channels_last and weight.is_contiguous()):
            formats.add("channels_last" if channels_last else "contiguous")
    return "mixed" if len(formats) > 1 else formats.pop() if formats else "none"


def choose_device(name: str | torch.device) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device of this machine.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device '{name}' cannot be used here: choose auto or cpu") from error
    return device


def device_name(device: torch.device) -> str:
    """Return the model of a GPU, otherwise the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def device_of_scores(device: torch.device) -> tuple[str, ...]:
    """Return what the fingerprint of scores has of the metrics' device; of the CPU nothing."""
    name = device_name(device)
    return () if name == "cpu" else (name,)


def choose_load_threads(
    load_threads: int | None, device: torch.device, has_networks: bool = True
) -> int:
    """Return the number of threads that load images.

    Args:
        load_threads: as asked for; None chooses. Beside a GPU that is one for each core, up to
            :data:`MOST_WORKERS`. On a CPU it is one for each core that networks leave idle, so that
            loading takes none from them; without such a core images are loaded in line.
        device: of the networks under test.
        has_networks: False for a codec, which uses one core.

    Raises:
        UserError: ``load_threads`` is less than 0, or no whole number.
    """
    if load_threads is not None:
        return whole("load_threads", load_threads, 0)
    busy = 0
    if device.type == "cpu":
        busy = torch.get_num_threads() if has_networks else 1
    return max(0, min(MOST_WORKERS, own_cores() - busy))


def cpu_name() -> str:
    """Return the processor's model; Python's own answer is empty on Linux."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from; None if it is installed.

    A ``+`` at the end says that tracked files were changed since.
    """
    root = Path(ssdd_bench.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    git = ("git", "--no-optional-locks", "-C", str(root))
    return _output(*git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")


def hide_home(text: str) -> str:
    """Replace the home folder, which names its owner, by ``~``."""
    home = str(Path.home())
    return text if home == Path(home).anchor else text.replace(home, "~")


def _gpu_driver() -> str | None:
    lines = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return lines.splitlines()[0] if lines else None


def _output(*command: str) -> str | None:
    """Return what a program prints; None where it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
