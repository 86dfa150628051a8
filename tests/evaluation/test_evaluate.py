"""Execution of an evaluation: devices, batches, labels, fingerprints and records."""

from dataclasses import replace

import pytest
import torch

import ssdd_bench as sb
from ssdd_bench.data.memory import as_source
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import settings as settings_module
from ssdd_bench.evaluation import work
from ssdd_bench.evaluation.evaluate import evaluate_loaded
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.settings import (
    BatchChoice,
    Settings,
    choose_batches,
    job_fingerprint,
    tokenizer_device,
)
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.schema import NUMBERS_VERSION

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SETTINGS = Settings(64, get_protocol("default-v1"), ("psnr",), CPU)


@pytest.mark.parametrize(
    ("asked", "on_cpu", "on_gpu"),
    [
        (None, BatchChoice(1, (1,)), BatchChoice(64, "auto")),
        ("auto", BatchChoice(1, "auto"), BatchChoice(64, "auto")),
        (8, BatchChoice(1, (8,)), BatchChoice(8, (8,))),
        ((1, 32), BatchChoice(1, (1, 32)), BatchChoice(32, (1, 32))),
    ],
)
def test_batches_by_device(asked, on_cpu, on_gpu):
    """Scores on a CPU are of single images, since its kernels round by the batch."""
    assert choose_batches(asked, CPU) == on_cpu
    assert choose_batches(asked, GPU) == on_gpu


@pytest.mark.parametrize("wrong", [0, (), (8, 0)])
def test_a_batch_has_an_image(wrong):
    with pytest.raises(UserError, match="batch_size"):
        choose_batches(wrong, CPU)


def measure(name, **changes):
    return sb.evaluate(
        name, data="sample", resolution=32, limit=2, metrics=["psnr"], device="cpu",
        progress=False, **changes,
    )  # fmt: skip


def test_a_result_says_the_version_of_its_numbers(photo_like):
    assert measure("identity").numbers_version == NUMBERS_VERSION
    images = photo_like(2)
    pairs = sb.evaluate_pairs(images, images, metrics=["mse"], progress=False)
    assert pairs.numbers_version == NUMBERS_VERSION


@pytest.mark.slow
def test_unusual_execution_is_recorded_and_named():
    usual, same, other = (
        measure("ssdd", dtype=dtype, speed=dtype == "bfloat16")
        for dtype in (None, "float32", "bfloat16")
    )
    assert usual.fingerprint == same.fingerprint != other.fingerprint
    assert usual.metrics == same.metrics != other.metrics
    assert (usual.tokenizer.label, other.tokenizer.label) == ("ssdd", "ssdd (bfloat16)")
    assert (other.execution.dtype, other.execution.suffix) == ("bfloat16", "bfloat16")
    assert any("bfloat16" in warning for warning in other.warnings)
    assert not usual.warnings
    assert 30 < other.speed.fidelity.psnr < 80
    assert 0 < other.speed.fidelity.max_difference < 0.1


def test_codecs_have_no_settings_of_execution():
    usual = measure("jpeg")
    other = measure("jpeg", dtype="bfloat16", compile="default", memory_format="contiguous")
    assert other.fingerprint == usual.fingerprint
    assert other.tokenizer.label == "jpeg"
    assert not other.warnings
    assert other.execution.compile == "off"


@pytest.fixture
def codec():
    return load("jpeg:quality=50")


def test_a_codec_runs_on_the_cpu_and_its_metrics_where_the_others_do(codec, monkeypatch, photos):
    class Stopped(Exception):
        pass

    def suite(keys, device, *more, **known):
        raise Stopped(device.type)

    monkeypatch.setattr(work, "MetricSuite", suite)
    monkeypatch.setattr(settings_module, "device_name", lambda device: f"some {device.type}")
    assert tokenizer_device(codec.tokenizer, GPU) == CPU
    with pytest.raises(Stopped, match="cuda"):
        evaluate_loaded(codec, as_source(photos), replace(SETTINGS, device=GPU))


def test_scores_by_another_device_are_another_job(codec, monkeypatch):
    monkeypatch.setattr(settings_module, "device_name", lambda device: f"some {device.type}")
    here = job_fingerprint(codec, SETTINGS, "data")
    assert job_fingerprint(codec, replace(SETTINGS, load_threads=5), "data") == here
    assert job_fingerprint(codec, replace(SETTINGS, device=GPU), "data") != here
