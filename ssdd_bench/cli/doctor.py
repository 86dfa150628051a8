"""``ssdd-bench doctor``: say what works on this machine, and how to fix the rest."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns

if TYPE_CHECKING:
    from ssdd_bench.metrics.catalog import MetricInfo
    from ssdd_bench.plugins.discovery import Broken, Entry
    from ssdd_bench.plugins.manifest import TokenizerInfo

PACKAGES = {"dreamsim": "dreamsim", "dinov2": "timm"}  # what metrics import, by our extra


@click.command("doctor", short_help="Say what works on this machine and how to fix the rest.")
@json_option
def command(as_json: bool) -> None:
    """Say which metrics and tokenizers work on this machine, and how to fix the others.

    Nothing is loaded; `ssdd-bench weights verify` compares checksums.
    """
    found = {**_machine(), **_sample(), "metrics": _metrics(), "tokenizers": _tokenizers()}
    found["GB free"] = _folders()
    if as_json:
        print_json(found)
        return
    simple = {name: value for name, value in found.items() if not isinstance(value, dict)}
    _print("machine", simple)
    for title, value in found.items():
        if isinstance(value, dict):
            click.echo()
            _print(title, value)


def _print(title: str, values: Mapping[str, object]) -> None:
    print_columns(("id", title), [(name, str(value)) for name, value in values.items()])


def _machine() -> dict[str, Any]:
    """Describe the machine; a torch that cannot be imported is reported, not raised."""
    found: dict[str, Any] = {"python": platform.python_version()}
    try:
        import torch

        from ssdd_bench.evaluation.environment import choose_device, cores, cpu_name, device_name

        device = device_name(choose_device("auto"))
    except Exception as error:  # whatever a broken installation raises
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return found | {"torch": f"broken ({reason}): reinstall torch"}
    return found | {
        "torch": str(torch.__version__),
        "device": device,
        "cpu": cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
    }


def _sample() -> dict[str, Any]:
    """Count the photos that came with the package, or name those that were changed."""
    from ssdd_bench.data.sample import SAMPLE_DIR, sample_sources

    sources = sample_sources()
    wrong = [name for name, one in sources.items() if _sha256(SAMPLE_DIR / name) != one.sha256]
    found = f"changed: {', '.join(wrong)}: reinstall ssdd-bench" if wrong else len(sources)
    return {"sample photographs": found}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _metrics() -> dict[str, str]:
    from ssdd_bench.metrics.catalog import METRICS, find_metrics

    return _states(find_metrics(), METRICS.broken(), _metric)


def _states(
    found: Mapping[str, Entry], broken: Iterable[Broken], state: Callable[[Entry], str]
) -> dict[str, str]:
    states = {one.name: f"broken: {one.error}" for one in broken}
    return states | {name: state(info) for name, info in found.items()}


def _metric(info: MetricInfo) -> str:
    from ssdd_bench.errors import UnavailableError, WeightsError
    from ssdd_bench.weights.assets import get_asset
    from ssdd_bench.weights.cache import cached_path, inspect

    needs = []
    if info.extra and importlib.util.find_spec(PACKAGES[info.extra]) is None:
        needs.append(f"needs {PACKAGES[info.extra]}: pip install 'ssdd-bench[{info.extra}]'")
    missing = [name for name in info.assets if get_asset(name).sha256 and not cached_path(name)]
    if missing:
        needs.append(f"needs weights: ssdd-bench weights fetch {' '.join(missing)}")
    for name in info.assets:
        try:
            if name not in missing:
                inspect(name)
        except (UnavailableError, WeightsError) as error:
            needs.append(str(error))
    return "; ".join(needs) or "ready"


def _tokenizers() -> dict[str, str]:
    from ssdd_bench.plugins.registry import TOKENIZERS

    return _states(TOKENIZERS.all(), TOKENIZERS.broken(), _tokenizer)


def _tokenizer(info: TokenizerInfo) -> str:
    missing = [name for name in info.requires if importlib.util.find_spec(name) is None]
    target = f"'ssdd-bench[{info.extra}]'" if info.extra else " ".join(missing)
    return f"needs {', '.join(missing)}: pip install {target}" if missing else "found"


def _folders() -> dict[str, float | str]:
    """Return the free space of the folders in which weights are looked for, in GB."""
    from ssdd_bench.weights.cache import search_folders

    return {str(folder): _free(folder) for folder in search_folders()}


def _free(folder: Path) -> float | str:
    if not folder.is_dir():
        return "no such folder"
    return round(shutil.disk_usage(folder).free / 1e9, 1)
