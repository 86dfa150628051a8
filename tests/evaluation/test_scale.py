"""Scale: memory and open files that do not grow, full disks, distances from several workers."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ssdd_bench.cli.main import main
from ssdd_bench.evaluation import chunks
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.folder import JobFolder
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.run import merge_results, run_jobs
from ssdd_bench.launch.shares import Share
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.results.store import load_results

PASS = """
import sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.data.source import ImageSource
from ssdd_bench.evaluation import evaluate as module
from ssdd_bench.metrics.features import base

class Pictures(ImageSource):
    name = "pictures"
    def __init__(self, n):
        self.ids = tuple(f"{i:06d}" for i in range(n))
    def read(self, image_id):
        noise = np.random.default_rng(int(image_id)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        return Image.fromarray(noise)

class Half(Tokenizer):
    latent = LatentSpec("discrete", 2, 3, bits_per_value=8)
    def encode(self, images, noise=None):
        return Latent((images[..., ::2, ::2] * 255).long(), tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        files.add(len(list(Path("/proc/self/fd").iterdir())))
        return latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2) / 255

class Means(base.Extractor):
    layers = {"pool": 48}
    backend = "test"
    def __init__(self, key, device):
        pass
    def __call__(self, images):
        blocks = torch.nn.functional.avg_pool2d(images.float(), 8)
        return {"pool": blocks.flatten(1).numpy()}

files = set()
base.make_extractor = Means
n, metrics = int(sys.argv[1]), ["psnr", "fd_effnet"]
merge = module.merge_job
module.merge_job = lambda *a: peaks.append(peak()) or merge(*a)

def peak():
    # Of getrusage's maximum a part is the parent's, whose memory a process has until it begins.
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

peaks = []
module.evaluate(
    Half(), data=Pictures(n), resolution=32, metrics=metrics, device="cpu", progress=False
)
print(*peaks, peak(), max(files))
"""


def one_pass(n: int) -> list[int]:
    """Evaluate so many images in a new process: peak kB before and after the merge, open files.

    At 32 px: the C library of Debian 12 never reuses all blocks of under a kilobyte (a batch of
    16 px) that one thread aligns and another frees, 0.9 kB an image.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PASS, str(n)],
        capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [*map(int, done.stdout.split())]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("images", [2_000, pytest.param(20_000, marks=pytest.mark.nightly)])
def test_memory_and_open_files_do_not_grow_with_the_images(images: int) -> None:
    few, many = one_pass(200), one_pass(images)
    for small, large in zip(few[:2], many[:2], strict=True):
        assert large < 1.03 * small, (few, many)
    assert many[2] <= few[2] + 1  # the chunk that is written while others are read


TOKENIZERS = "jpeg:quality=30,downsample"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 4 images, where this process cuts them."""
    monkeypatch.setattr(chunks, "SMALLEST", 4)


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(9, (20, 20))


def command(photos: Path, out: Path, *more: str) -> list[str]:
    return [
        *("run", "--tokenizers", TOKENIZERS, "--res", "16", "--data", str(photos)),
        *("--metrics", "psnr,psnr_pooled,ssim", "--no-speed", "--out", str(out), "--quiet", *more),
    ]


def measured(out: Path) -> dict[str, tuple[object, ...]]:
    """All of the results in a folder that the machine and the time do not change."""
    return {
        one.tokenizer.label: (
            one.metrics,
            one.data,
            one.latent,
            one.fingerprint,
            one.warnings,
            pd.read_parquet(out / str(one.scores)).to_dict("list"),
            sorted(path.read_bytes() for path in (out / "samples").rglob("*.webp")),
            (out / "table.md").read_bytes(),
        )
        for one in load_results([out])
    }


def fill_disk(patch: pytest.MonkeyPatch, folder: Path, at: int) -> list[Path]:
    """Let the write of this number below a folder fail, and all later ones; return what is written.

    Files take their names when they are whole, so that a failure there stands for one before.
    """
    written: list[Path] = []

    def count(path: Path) -> None:
        if folder in (path, *path.parents):
            written.append(path)
            if len(written) > at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    for name in ("replace", "mkdir", "write_text", "write_bytes"):
        original = getattr(Path, name)

        def method(self: Path, *args: object, _original=original, **more: object) -> object:
            count(self)
            return _original(self, *args, **more)

        patch.setattr(Path, name, method)
    temporary = tempfile.TemporaryFile

    def in_folder(dir: Path) -> object:
        count(Path(dir))
        return temporary(dir=dir)

    patch.setattr("tempfile.TemporaryFile", in_folder)
    return written


Call = Callable[[list[str]], tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process: its code, and what it wrote to standard error."""

    def call(words: list[str]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ssdd-bench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


@pytest.mark.slow
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_disk_that_is_full_at_any_write_costs_nothing_but_time(
    every: int, photos: Path, tmp_path: Path, call: Call
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written = fill_disk(patch, tmp_path / "whole", 10**6)
        assert call(command(photos, tmp_path / "whole", "--in-process"))[0] == 0
    whole, out = measured(tmp_path / "whole"), tmp_path / "full"
    assert len(written) > 30
    assert sum(path.suffix == ".safetensors" for path in written) == 0  # their names end in .tmp
    for at in range(0, len(written), every):
        with pytest.MonkeyPatch.context() as patch:
            fill_disk(patch, out, at)
            code, err = call(command(photos, out, "--in-process"))
        assert code not in (0, 3), at  # no single job has failed
        (line,) = err.splitlines()
        assert re.fullmatch(r"error: .*full.*: No space left on device.*", line), (at, line)
        assert not list(out.rglob("*.tmp"))
        assert call(command(photos, out, "--in-process"))[0] == 0
        assert measured(out) == whole, at
        assert not (out / "parts").exists()
        shutil.rmtree(out)


@pytest.mark.slow
def test_a_file_that_a_worker_cannot_write_ends_the_run(photos: Path, tmp_path: Path) -> None:
    """The system refuses it, to another process."""

    def start(limit: int) -> subprocess.CompletedProcess[str]:
        def set_limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        words = [sys.executable, "-m", "ssdd_bench", *command(photos, tmp_path / "out")]
        return subprocess.run(
            words, capture_output=True, text=True, preexec_fn=set_limit, timeout=100, check=False
        )

    failed = start(8000)
    assert failed.returncode == 2, failed.stderr
    (line,) = failed.stderr.splitlines()
    assert re.match(r"error: cannot write .*/00000.safetensors: .*File too large", line)
    assert start(10**9).returncode == 0
    assert len(load_results([tmp_path / "out"])) == 2


@pytest.mark.slow
def test_distances_are_equal_for_any_workers_and_restarts(make_photos, tmp_path: Path) -> None:
    """Fréchet distances with their intervals, and a deterministic tokenizer."""
    photos = make_photos(24, (20, 20))

    def distances(out: Path) -> dict[str, object]:
        return {
            one.tokenizer.label: (one.metrics, pd.read_parquet(out / str(one.scores)).to_dict())
            for one in load_results([out])
        }

    def plan(name: str) -> RunConfig:
        return RunConfig(
            tuple(parse_requests(TOKENIZERS)), (16,), tmp_path / name, ("psnr", "fd_effnet"),
            data=photos, speed=False, pictures=False, intervals=True,
        )  # fmt: skip

    assert not run_jobs(plan("one")).failures
    whole = distances(tmp_path / "one")
    assert whole["downsample"][0]["fd_effnet"].interval is not None
    for count in (2, 5):
        for index in reversed(range(count)):
            run_jobs(plan(f"{count} shares"), launch=Launch(True, share=Share(index, count)))
        assert not merge_results(tmp_path / f"{count} shares").failures
        assert distances(tmp_path / f"{count} shares") == whole

    save, saved = JobFolder.save, []

    def interrupted(self, *args):
        saved.append(save(self, *args))
        if len(saved) in (1, 3, 4):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobFolder, "save", interrupted)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                run_jobs(plan("again"))
        assert not run_jobs(plan("again")).failures
    assert len(saved) == 12
    assert distances(tmp_path / "again") == whole
