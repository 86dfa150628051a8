"""``ssdd-bench doctor``: say what works on this machine, and how to fix the rest."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from typing import Any

import click

from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._verbs import verb
from ssdd_bench.errors import UnavailableError, WeightsError
from ssdd_bench.metrics.base import MetricInfo
from ssdd_bench.metrics.catalog import METRICS, find_metrics
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.weights.assets import cached_path, get_asset, inspect, search_folders

PACKAGES = {"dreamsim": "dreamsim", "dinov2": "timm"}  # what metrics import, by our extra


@verb
def command() -> None:
    """Say what works on this machine and how to fix the rest.

    Nothing is loaded; `ssdd-bench weights verify` compares checksums.
    """
    from ssdd_bench.data.sample import sample_sources

    machine = {**_machine(), "sample photographs": len(sample_sources())}
    tables: dict[str, dict[str, Any]] = {
        "metrics": {
            **{one.name: f"broken: {one.error}" for one in METRICS.broken()},
            **{key: _metric(info) for key, info in find_metrics().items()},
        },
        "tokenizers": {
            **{one.name: f"broken: {one.error}" for one in TOKENIZERS.broken()},
            **{name: info.missing() or "found" for name, info in TOKENIZERS.all().items()},
        },
        "GB free": {
            str(folder): round(shutil.disk_usage(folder).free / 1e9, 1)
            if folder.is_dir()
            else "no such folder"
            for folder in search_folders()
        },
    }
    if print_json(machine | tables):
        return
    for title, values in {"machine": machine, **tables}.items():
        print_columns([{"id": name, title: value} for name, value in values.items()])
        click.echo()


def _machine() -> dict[str, Any]:
    """Describe the machine; a torch that cannot be imported is reported, not raised."""
    try:
        from ssdd_bench.evaluation.environment import (
            choose_device,
            describe_environment,
            device_name,
        )

        device = choose_device("auto")
        return {"device": device_name(device), **describe_environment(device)}
    except Exception as error:  # A broken installation may raise anything.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return {"python": platform.python_version(), "torch": f"broken ({reason}): reinstall torch"}


def _metric(info: MetricInfo) -> str:
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
