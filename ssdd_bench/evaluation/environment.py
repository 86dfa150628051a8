"""What a measurement ran on and with, so that a reader can tell why two numbers differ."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

import ssdd_bench
from ssdd_bench.errors import UserError

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
        "threads": torch.get_num_threads(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "device": device_name(device),
        "gpu_driver": _gpu_driver() if device.type == "cuda" else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "torch": str(torch.__version__),
        **{name: _version(name) for name in LIBRARIES},
    }


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device that is there.

    Raises:
        UserError: the name means nothing, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device '{name}' cannot be used here: give auto or cpu") from error
    return device


def device_name(device: torch.device) -> str:
    """The model of a GPU, otherwise the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model; Python's own answer is empty on Linux."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of the checkout this package runs from; None for an installed package.

    A ``+`` at the end says that tracked files were changed since.
    """
    root = Path(ssdd_bench.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    changed = _output(
        "git",
        "--no-optional-locks",
        "-C",
        str(root),
        "status",
        "--porcelain",
        "--untracked-files=no",
    )
    return commit + "+" if commit and changed else commit


def hide_home(text: str) -> str:
    """Replace the home folder, which names its owner, by ``~``."""
    home = str(Path.home())
    return text if home == Path(home).anchor else text.replace(home, "~")


def _gpu_driver() -> str | None:
    lines = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return lines.splitlines()[0] if lines else None


def _output(*command: str) -> str | None:
    """What a program prints; None where it is absent or fails."""
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
