"""Scoring against the usual ways: whole windows, general roots of matrices, a chain of tools.

make bench
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.functional.image import structural_similarity_index_measure

from ssdd_bench.metrics.moments import Moments, frechet_distance
from ssdd_bench.metrics.pixel_errors import squared_errors
from ssdd_bench.metrics.ssim import ssim

pytestmark = [pytest.mark.timing, pytest.mark.benchmark(group="scoring")]
COST = Path(__file__).with_name("cost.py")


@pytest.mark.parametrize(("side", "least"), [(256, 10), (512, 10)])
def test_ssim(by_turns, side, least):
    """Sums of shifted maps against the window convolved whole, both in float64."""
    a = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    b = (a.int() + torch.randint(-9, 10, a.shape)).clamp(0, 255).byte()

    def whole():
        return structural_similarity_index_measure(
            b.double() / 255, a.double() / 255, sigma=1.5, data_range=1.0, return_full_image=True
        )

    assert ssim(a, b).item() == pytest.approx(whole()[1][..., 5:-5, 5:-5].mean().item(), abs=1e-9)
    calls = {"separable": lambda: ssim(a, b), "whole window": whole}
    ratios = by_turns(calls, side=side, task="SSIM of an image")
    assert ratios["whole window"] > least


def test_default_metrics_beside_decoding(by_turns):
    """Metrics without networks, against decoding the same image with the shipped `ssdd`."""
    from ssdd_bench import load_tokenizer
    from ssdd_bench.api.noise import KeyedNoise

    images = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    tokenizer = load_tokenizer("ssdd")

    @torch.inference_mode()
    def decode():
        return tokenizer.decode(latent, KeyedNoise(0, ["a"], "decode"))

    def score():
        return squared_errors(images, images), ssim(images, images)

    with torch.inference_mode():
        latent = tokenizer.encode(images.float() / 255)
    calls = {"PSNR and SSIM": score, "decoding by ssdd": decode}
    ratios = by_turns(calls, rounds=15, side=256, task="one image")
    assert ratios["decoding by ssdd"] > 12


def test_frechet_distance(by_turns):
    """Symmetric eigenvalues against a general root of a matrix, 1,024 features."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(1024, 1024)) / 1024**0.5
    x = rng.normal(size=(5000, 1024)) @ mixing
    sides = Moments(1024), Moments(1024)
    for moments, rows in zip(sides, (x, x + 0.3 * rng.normal(size=x.shape)), strict=True):
        moments.update(rows)
    a, b = sides

    def general():
        offset, first, second = a.mean - b.mean, a.covariance, b.covariance
        root = np.trace(sqrtm(first @ second).real)
        return offset @ offset + np.trace(first) + np.trace(second) - 2 * root

    assert frechet_distance(a, b) == pytest.approx(general(), rel=1e-6)
    calls = {"symmetric eigenvalues": lambda: frechet_distance(a, b), "scipy's sqrtm": general}
    ratios = by_turns(calls, rounds=3, task="Fréchet distance")
    assert ratios["scipy's sqrtm"] > 2


def test_one_pass_and_the_usual_chain(benchmark):
    """FID, LPIPS, PSNR and SSIM of 100 pairs: in one pass, and by a chain of tools and PNG files.

    Each runs in a process of its own, in turn.
    """

    def measure():
        command = [sys.executable, str(COST), "--images", "100", "--json"]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    found = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= found
    # Inception alone, once per image on both sides, is two thirds of the one pass.
    assert found["ratios"]["one pass"] > 1.8
