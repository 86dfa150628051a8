"""The reference of protocols: its scripts give the numbers of a run, and it is complete."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from ssdd_bench.data.sample import SAMPLE_DIR
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import PROTOCOLS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENT = (REFERENCE / "protocols.md").read_text(encoding="utf-8")
METRICS = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
SIZE = 64
PHOTOGRAPHS = ("astronaut.jpg", "citrus-slices.jpg", "osprey.jpg")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name in PHOTOGRAPHS:
        shutil.copy(SAMPLE_DIR / name, folder)
    return folder


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=[8, 16],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=4,
        scaling_factor=0.5,
        shift_factor=0.25,
    )
    folder = tmp_path_factory.mktemp("autoencoder")
    model.save_pretrained(folder)
    return folder


def scripted(protocol_id, folder, tmp_path, *arguments):
    """Run the script below a protocol's heading; returns the scores that it prints."""
    section = DOCUMENT.split(f"\n## `{protocol_id}`\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (tmp_path / "check.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "check.py", folder, SIZE, *arguments]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {key: float(value) for key, value in map(str.split, done.stdout.splitlines())}


def measured(protocol_id, folder, tmp_path, tokenizer, metrics):
    plan = RunConfig(
        requests=tuple(parse_requests(tokenizer)),
        resolutions=(SIZE,),
        metrics=tuple(metrics),
        out=tmp_path / "runs",
        protocols=(protocol_id,),
        data=folder,
        device="cpu",
        speed=False,
        pictures=False,
    )
    (finished,) = run_jobs(plan).finished
    return {key: value.value for key, value in finished.result.metrics.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol_id", "keys"),
    [
        ("default-v1", {"psnr", "psnr_pooled", "ssim"}),
        ("ssdd-paper-v1", {"psnr_pooled", "ssim_skimage7", "mse", "mae"}),
    ],
)
def test_the_script_for_jpeg_agrees(protocol_id, keys, photographs, tmp_path):
    expected = scripted(protocol_id, photographs, tmp_path)
    assert expected.keys() == keys
    got = measured(protocol_id, photographs, tmp_path, "jpeg", keys)
    assert got == pytest.approx(expected, rel=1e-8)


@pytest.mark.slow
def test_the_script_for_sampled_latents_agrees(photographs, autoencoder, tmp_path):
    expected = scripted("ldm-v1", photographs, tmp_path, autoencoder)
    tokenizer = f"klvae:path={autoencoder}"
    got = measured("ldm-v1", photographs, tmp_path, tokenizer, expected)
    assert got == pytest.approx(expected, rel=1e-5)  # latents are scaled and scaled back there


def test_every_protocol_and_metric_is_explained():
    for name in PROTOCOLS.all():
        assert f"`{name}`" in DOCUMENT
    table = METRICS.split("## Metric keys")[1].split("\n## ")[0]
    missing = [key for key in find_metrics() if f"`{key}`" not in table]
    assert not missing
