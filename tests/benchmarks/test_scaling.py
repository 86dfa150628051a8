"""Gain and cost of workers: efficiency, processes, the start and the merge.

``python tests/benchmarks/test_scaling.py`` prints a table for docs/scaling.md in some ten minutes;
``pytest -m timing tests/benchmarks/test_scaling.py`` compares it with limits. Both need a machine
that does nothing else, with two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.data.source import ImageSource
from ssdd_bench.evaluation.chunks import ChunkState
from ssdd_bench.evaluation.environment import describe_execution
from ssdd_bench.evaluation.folder import Executed, JobFolder
from ssdd_bench.evaluation.latent_size import LatentCounts
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.merge import merge_job
from ssdd_bench.evaluation.settings import Settings
from ssdd_bench.evaluation.work import describe_job
from ssdd_bench.metrics.features import base
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.protocols.registry import get_protocol

IMAGES = 1024
"""Sixteen chunks: eight for each of two workers."""
MERGED, CHUNK, DIMS = 50_000, 782, 2048  # 64 chunks

MANIFEST = """
id = "stamp"
title = "Stamp"
family = "test"
description = "Notes when the first image comes."
licence = "Apache-2.0"
version = "1"
"""
PLUGIN = """
import os, time
from pathlib import Path
from ssdd_bench.api import Latent, LatentSpec, Tokenizer

class Stamp(Tokenizer):
    latent = LatentSpec("continuous", 1, 3)
    def encode(self, images, noise=None):
        path = Path(os.environ["STAMP"])
        if not path.exists():
            path.write_text(str(time.time()))
        return Latent(images, tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        return latent.data

def load():
    return Stamp()
"""


def run(*words: object, threads: int | None = None, **environment: str) -> float:
    """Give a command of a run into a new folder; return the seconds."""
    with tempfile.TemporaryDirectory() as out:
        options = [*(("--threads", threads) if threads else ()), "--out", out, "--quiet"]
        command = [sys.executable, "-m", "ssdd_bench", "run", *words, *options]
        started = time.perf_counter()
        subprocess.run(
            [*map(str, command)],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - started


def by_turns(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: 1 if number % 2 else -1]:
            found[name].append(calls[name]())
    return {name: median(seconds) for name, seconds in found.items()}


def at_once(*calls: Callable[[], float]) -> float:
    """Return the seconds of the slowest of some calls that begin together."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return max(pool.map(lambda call: call(), calls))


def two_workers(rounds: int = 3) -> tuple[float, float]:
    """Return the gain of a second worker of one thread, for whole commands, and the machine's.

    The first is the seconds of one worker over those of two. The second is twice the seconds of a
    command over those of two such commands at once, which share nothing but the machine.
    """
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name)
        rng = np.random.default_rng(0)
        for index in range(IMAGES):
            small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
            small.resize((128, 128), Image.Resampling.BICUBIC).save(photos / f"{index:04}.png")
        words = ("--tokenizers", "ssdd", "--res", 128, "--data", photos, "--no-speed")
        metrics = ("--metrics", "psnr,ssim,fd_effnet")

        def command(jobs: int = 1) -> float:
            return run(*words, *metrics, "--jobs", jobs, threads=1)

        seconds = by_turns(
            {
                "one": command,
                "two": lambda: command(2),
                "apart": lambda: at_once(command, command),
            },
            rounds,
        )
    return seconds["one"] / seconds["two"], 2 * seconds["one"] / seconds["apart"]


def processes(rounds: int = 3) -> float:
    """Seconds of README's command over those of the same in one process."""
    words = ("--tokenizers", "ssdd,klvae", "--res", "256,512")
    seconds = by_turns(
        {"processes": lambda: run(*words), "one": lambda: run(*words, "--in-process")}, rounds
    )
    return seconds["processes"] / seconds["one"]


def start(*more: str, rounds: int = 5) -> float:
    """Seconds from the command until the tokenizer has its first image."""
    with tempfile.TemporaryDirectory() as name:
        plugin = Path(name) / "plugins" / "stamp"
        plugin.mkdir(parents=True)
        (plugin / "tokenizer.toml").write_text(MANIFEST)
        (plugin / "plugin.py").write_text(PLUGIN)
        (plugin / "__init__.py").write_text('"""Stamp."""\n')
        words = ("--tokenizers", "stamp", "--res", 64, "--limit", 1, "--no-speed", *more)
        found = []
        for number in range(rounds):
            path = Path(name) / str(number)
            started = time.time()
            run(*words, **{VARIABLE: str(plugin.parent), "STAMP": str(path)})
            found.append(float(path.read_text()) - started)
    return median(found)


class _Random(base.Extractor):
    """Random features in place of a network's."""

    layers = {"pool": DIMS}  # noqa: RUF012
    backend = "test"

    def __init__(self, key: str, device: torch.device) -> None:
        self._rng = np.random.default_rng(0)

    def __call__(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        return {"pool": self._rng.standard_normal((len(images), DIMS), dtype=np.float32)}


class _Names(ImageSource):
    """Ids of images that nobody reads."""

    name = "names"
    ids = tuple(f"{index:06}" for index in range(MERGED))

    def read(self, image_id: str) -> Image.Image:
        raise NotImplementedError


def merge() -> float:
    """Seconds of the merge of 64 chunks of 50,000 images with 2,048 features each."""
    loaded, device = load("downsample"), torch.device("cpu")
    metrics = ("psnr", "fd_effnet")
    settings = Settings(16, get_protocol("default-v1"), metrics, device)
    source, execution = _Names(), describe_execution(device, [], "float32")
    record = describe_job(loaded, source, settings, "0" * 64, {"cpu": "test"})
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "make_extractor", _Random)
        record = replace(
            record,
            identity=replace(record.identity, size=CHUNK),
            borders=source.ids[::CHUNK],
        )
        folder = JobFolder(Path(name) / "job", record.identity)
        folder.claim(record)
        rng = np.random.default_rng(0)
        counts = LatentCounts(1, 1, 0, np.zeros((0, 2), np.int64))
        with MetricSuite(metrics, device, 64, settings.protocol.metric_options,
                         expected=MERGED) as suite:  # fmt: skip
            for chunk in range(len(folder.grid)):
                ids = source.ids[folder.grid.part(chunk)]
                for at in range(0, len(ids), 64):
                    some = ids[at : at + 64]
                    sides = (
                        torch.from_numpy(
                            rng.integers(0, 256, (len(some), 3, 16, 16), dtype=np.uint8)
                        )
                        for _ in range(2)
                    )
                    suite.add_pairs(some, *sides)
                hashes = rng.integers(0, 256, (len(ids), 16), dtype=np.uint8)
                state = ChunkState(ids, hashes, {}, 0, counts, suite.take())
                folder.save(chunk, state, Executed(execution, "test", 0.0))
        started = time.perf_counter()
        found = merge_job(folder, record)
        seconds = time.perf_counter() - started
    assert found.data.n == MERGED
    assert found.metrics["fd_effnet"].n == MERGED
    return seconds


def describe_gain() -> str:
    """Describe the gain of a second worker."""
    gain, limit = two_workers()
    return f"{gain:.2f} times as fast, {gain / limit:.0%} of the {limit:.2f} of two commands apart"


MEASURES: dict[str, tuple[Callable[[], float | str], str, str]] = {
    "two workers of one thread against one": (describe_gain, "{}", "1.85; 93% of two commands"),
    "README's command, worker process against --in-process": (
        processes, "{:.3f} times the seconds", "1.02 or less",
    ),
    "from the command to the first image": (start, "{:.1f} s", "4 s or less"),
    "the same, --in-process": (lambda: start("--in-process"), "{:.1f} s", ""),
    "merge of 64 chunks, 50,000 images, 2,048 features": (merge, "{:.1f} s", "20 s or less"),
}  # fmt: skip


def main() -> None:
    """Print the table; words on the command line choose rows that contain them."""
    click.echo("| what | found | aim |\n| --- | --- | --- |")
    for name, (measure, form, aim) in MEASURES.items():
        if all(word in name for word in sys.argv[1:]):
            click.echo(f"| {name} | {form.format(measure())} | {aim} |")


@pytest.mark.timing
def test_two_workers_are_nearly_twice_as_fast() -> None:
    """A machine whose two cores share memory and clock gives two commands less than twice, too."""
    gain, limit = two_workers()
    assert gain >= 0.925 * min(2, limit)


@pytest.mark.timing
def test_worker_processes_cost_little() -> None:
    assert processes() <= 1.02


@pytest.mark.timing
def test_a_run_starts_soon() -> None:
    assert start() <= 4.0


@pytest.mark.timing
def test_a_large_merge_is_short() -> None:
    assert merge() <= 20.0


if __name__ == "__main__":
    main()
