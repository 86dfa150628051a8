"""Whole evaluations on a GPU against the same ones on a CPU."""

import pytest
import torch
from diffusers import AutoencoderKL

from ssdd_bench.evaluation import work as module
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer

KEYS = ["psnr", "psnr_pooled", "ssim", "ms_ssim", "mae"]


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(6, (192, 208))


def scores(tokenizer, photos, device, resolution=192, **more):
    found = evaluate(
        tokenizer, data=photos, resolution=resolution, device=device, progress=False, **more
    )
    return found, {key: value.value for key, value in found.metrics.items()}


@pytest.mark.parametrize("steps", [1, 3])
def test_ssdd(steps, checkpoint, photos, device):
    expected, found = (
        scores(SSDDTokenizer(checkpoint, steps), photos, where, metrics=KEYS)
        for where in ("cpu", device)
    )
    assert found[0].execution.device == (
        "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    )
    assert found[1] == pytest.approx(expected[1], rel=1e-3)
    assert found[0].data == expected[0].data


def test_the_batch_changes_no_score(checkpoint, photos, device):
    one, all_ = (
        scores(SSDDTokenizer(checkpoint), photos, device, metrics=KEYS, batch_size=size)[1]
        for size in (1, 6)
    )
    assert all_ == pytest.approx(one, rel=1e-4)


def test_kl_vae(photos, device):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4}
    blocks["up_block_types"] = ("UpDecoderBlock2D",) * 4
    vae = AutoencoderKL(block_out_channels=(32,) * 4, latent_channels=4, **blocks)
    expected, found = (scores(vae, photos, where, metrics=KEYS)[1] for where in ("cpu", device))
    assert found == pytest.approx(expected, rel=1e-3)


def test_speed(checkpoint, photos, device):
    tokenizer, small = SSDDTokenizer(checkpoint), {"resolution": 64, "batch_size": [1, 2]}
    found, _ = scores(tokenizer, photos, device, metrics=["mae"], speed=True, **small)
    for timing in (found.speed.encode, found.speed.decode):
        assert timing.images_per_s > 0
        assert timing.gmac_per_image > 0
        if device.type == "cuda":
            assert timing.peak_memory_kind == "cuda allocated"
            assert timing.peak_memory_bytes > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"memory_format": "channels_last"},
        {"memory_format": "contiguous"},
        pytest.param(
            {"dtype": "bfloat16", "compile": "default", "cuda_graphs": True},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_settings_of_execution(settings, checkpoint, photos, device):
    if "compile" in settings and device.type == "cpu":
        pytest.skip("CUDA graphs need a GPU")
    same = {"resolution": 64, "metrics": ["psnr", "ssim", "mae"], "batch_size": 6}
    exact = scores(SSDDTokenizer(checkpoint), photos, device, **same)[1]
    tokenizer = SSDDTokenizer(checkpoint)
    result, found = scores(tokenizer, photos, device, **same, speed=True, **settings)
    dtype = settings.get("dtype", "float32")
    assert result.execution.dtype == dtype
    fidelity = result.speed.fidelity
    assert fidelity.psnr is None or fidelity.psnr > (70 if dtype == "float32" else 25)
    assert found == pytest.approx(exact, rel=1e-3 if dtype == "float32" else 2e-2)


def test_metrics_of_a_codec_use_the_device(photos, device, monkeypatch):
    """A codec has no networks and works on the CPU, which is no place for those of its metrics."""
    used = []

    class Suite(module.MetricSuite):
        def __init__(self, keys, where, *arguments, **more):
            used.append(where)
            super().__init__(keys, where, *arguments, **more)

    monkeypatch.setattr(module, "MetricSuite", Suite)
    expected, found = (
        scores("jpeg:quality=50", photos, where, metrics=KEYS) for where in ("cpu", device)
    )
    assert [where.type for where in used] == ["cpu", device.type]
    assert found[1] == pytest.approx(expected[1], rel=1e-6)
    assert found[0].execution.device == "cpu"
