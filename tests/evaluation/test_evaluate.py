"""Execution of an evaluation: batches, labels, fingerprints and records."""

import pytest
import torch

import ssdd_bench as sb
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.evaluate import BatchChoice, choose_batches

CPU, GPU = torch.device("cpu"), torch.device("cuda")


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
