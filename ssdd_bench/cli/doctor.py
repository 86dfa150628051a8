"""``ssdd-bench doctor``: say what works on this machine, and how to fix the rest."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import click

from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._verbs import flag, verb
from ssdd_bench.errors import UnavailableError, UserError, WeightsError, counted, reason_of
from ssdd_bench.install import install_command
from ssdd_bench.metrics.base import MetricInfo
from ssdd_bench.metrics.catalog import METRICS, find_metrics
from ssdd_bench.plugins.manifest import Published
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.weights.assets import cached_path, get_asset, inspect, search_folders
from ssdd_bench.weights.download import OFFLINE_REASON, is_offline
from ssdd_bench.weights.hub import HubFile, inspect_remote, model_files

CONNECTIONS = 8  # requests to the Hub at a time


@verb
def command(
    online: Annotated[bool, flag("Ask the Hub if the published weights are there.")] = False,
) -> None:
    """Say what works on this machine and how to fix the rest.

    Nothing is loaded; `ssdd-bench weights verify` compares checksums. With --online, published
    weights that are absent, or that differ from their manifest, make the exit status 1.
    """
    from ssdd_bench.data.sample import SAMPLE_DIR

    machine = {**_machine(), "sample photographs": len([*SAMPLE_DIR.glob("*.jpg")])}
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
    wrong = False
    if online:
        tables["published weights"], wrong = _look_online()
    if not print_json(machine | tables):
        for title, values in {"machine": machine, **tables}.items():
            print_columns([{"id": name, title: value} for name, value in values.items()])
            click.echo()
    if wrong:
        click.get_current_context().exit(1)


def _look_online() -> tuple[dict[str, str], bool]:
    """Describe the published weights on the Hub by tokenizer; True if something is wrong."""
    if is_offline():
        raise UserError(f"{OFFLINE_REASON}: unset it, or leave out --online")
    known = {
        name: info.published
        for name, info in TOKENIZERS.all().items()
        if info.published and info.published.hub
    }
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = dict(zip(known, pool.map(_inspect, known.values()), strict=True))
    return (
        {name: "; ".join(problems) or text for name, (text, problems) in found.items()},
        any(problems for _, problems in found.values()),
    )


def _inspect(known: Published) -> tuple[str, list[str]]:
    """Compare the files on the Hub with a manifest: a summary, and what is wrong."""
    files = known.files or model_files(known.folder)
    remote = {file: inspect_remote(known.hub, file, known.revision) for file in files}
    problems = [text for file, one in remote.items() for text in _differences(known, file, one)]
    if any(one.state == "gated" for one in remote.values()):
        return f"gated: accept its licence at https://huggingface.co/{known.hub}", problems
    size = sum(one.bytes or 0 for one in remote.values())
    return f"found: {counted(len(files), 'file')}, {size / 1e6:.0f} MB", problems


def _differences(known: Published, file: str, remote: HubFile) -> Iterator[str]:
    if remote.state in ("absent", "unreachable"):
        yield f"{known.hub}/{file}: {remote.reason}"
    expected = {"bytes": known.bytes.get(file), "sha256": known.sha256.get(file)}
    for key, value in expected.items():
        told = getattr(remote, key)
        if told and value and told != value:
            yield f"{known.hub}/{file}: its {key} is {told}, expected {value}"


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
        broken = f"broken ({reason_of(error)}): reinstall torch"
        return {"python": platform.python_version(), "torch": broken}


def _metric(info: MetricInfo) -> str:
    needs = []
    if package := info.missing_package:
        needs.append(f"needs {package}: {install_command(info.extra)}")
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
