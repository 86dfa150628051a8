"""A tokenizer in a distribution of its own is installed, listed, checked and measured."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
DISTRIBUTION = ROOT / "tests" / "fixtures" / "third_party_tokenizer"

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A function that runs Python, from another folder, where the distribution is installed."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)]
    # From a folder elsewhere, where no stray build output can help.
    command = [sys.executable, "-m", "pip", "install", *options, str(DISTRIBUTION)]
    subprocess.run(command, check=True, cwd=site)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=site,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_it_is_listed_without_being_imported(run_python: Run) -> None:
    code = """
import sys
from ssdd_bench.plugins.registry import TOKENIZERS
assert not TOKENIZERS.broken(), TOKENIZERS.broken()
assert "torch" not in sys.modules and "block_mean" not in sys.modules
info = TOKENIZERS.get("block-mean")
print(info.source, info.options["size"].default)
"""
    assert run_python("-c", code) == "package ssdd-bench-block-mean 16\n"


@pytest.mark.slow
def test_it_keeps_the_contract(run_python: Run) -> None:
    code = """
from ssdd_bench.evaluation.conformance import check_tokenizer
print(check_tokenizer("block-mean"), check_tokenizer("block-mean:size=4"))
"""
    assert run_python("-c", code) == "[] []\n"


@pytest.mark.slow
def test_it_is_measured(run_python: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for i in range(4):
        pixels = generator.integers(256, size=(64, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    out = tmp_path / "out"
    arguments = ["--tokenizers", "block-mean:size=4,16", "--res", "64", "--data", str(tmp_path)]
    options = ["--out", str(out), "--metrics", "psnr", "--quiet", "--no-speed"]
    run_python("-m", "ssdd_bench", "run", *arguments, *options)
    results = [json.loads(path.read_text()) for path in out.glob("*.json")]
    by_label = {result["tokenizer"]["label"]: result for result in results}
    assert by_label.keys() == {"block-mean", "block-mean:size=4"}
    fine, coarse = by_label["block-mean:size=4"], by_label["block-mean"]
    assert fine["latent"]["bits_per_pixel"] == 24 / 4**2
    assert coarse["latent"]["bits_per_pixel"] == 24 / 16**2
    assert fine["metrics"]["psnr"]["n"] == coarse["metrics"]["psnr"]["n"] == 4
    assert fine["metrics"]["psnr"]["value"] > coarse["metrics"]["psnr"]["value"]
