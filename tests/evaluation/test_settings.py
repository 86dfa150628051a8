"""Settings of an evaluation: the hash of a job, its label, and what is refused."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.errors import ResolutionError, UserError
from ssdd_bench.evaluation import settings as module
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import (
    BatchChoice,
    BatchSize,
    Settings,
    check_resolution,
    choose_batches,
    job_fingerprint,
    job_label,
    tokenizer_device,
)
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.schema import NUMBERS_VERSION

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PROTOCOL = get_protocol("default-v1")
SETTINGS = Settings(64, PROTOCOL, ("psnr",), CPU, seed=3)


class Codec(Tokenizer):
    latent = LatentSpec("bytes", 8, 3)

    def encode(self, images: Any, noise: Any = None) -> Any:
        raise NotImplementedError

    def decode(self, latent: Any, noise: Any) -> Any:
        raise NotImplementedError


class Network(Codec):
    def networks(self) -> dict[str, nn.Module]:
        return {"decoder": nn.Linear(1, 1)}


def sha256(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


PLAIN: dict[str, Any] = {
    "numbers": NUMBERS_VERSION,
    "tokenizer": "block-mean",
    "adapter": "1",
    "options": {"quality": 5},
    "weights": ["11", "22"],
    "resolution": 64,
    "protocol": PROTOCOL.sha256,
    "data": "images",
    "seed": 3,
    "device": "some cpu",
}


@pytest.mark.parametrize(
    ("tokenizer", "changes", "more"),
    [
        (Network(), {}, {}),
        (Network(), {"load_threads": 5}, {}),
        (
            Network(),
            {"execution": ExecutionSettings("bfloat16", memory_format="contiguous")},
            {"execution": {"dtype": "bfloat16", "memory_format": "contiguous"}},
        ),
        (Codec(), {"execution": ExecutionSettings("bfloat16")}, {}),
        (Network(), {"device": GPU}, {"device": "some cuda"}),
        (Codec(), {"device": GPU}, {"metrics": "some cuda"}),
    ],
)
def test_the_hash_of_a_job_is_that_of_these_facts(
    monkeypatch: pytest.MonkeyPatch,
    record: Any,
    tokenizer: Tokenizer,
    changes: dict[str, Any],
    more: dict[str, Any],
) -> None:
    monkeypatch.setattr(module, "device_name", lambda device: f"some {device.type}")
    described = replace(record(quality=5), weights={"a": "22", "b": "11"})
    loaded = LoadedTokenizer(tokenizer, described)
    settings = replace(SETTINGS, **changes)
    assert job_fingerprint(loaded, settings, "images") == sha256(PLAIN | more)


@pytest.mark.parametrize(
    ("tokenizer", "execution", "label"),
    [
        (Network(), ExecutionSettings(), "mine"),
        (Network(), ExecutionSettings("float16", "default"), "mine (float16, compiled)"),
        (Codec(), ExecutionSettings("float16", "default"), "mine"),
    ],
)
def test_a_label_names_unusual_execution_of_networks(
    record: Any, tokenizer: Tokenizer, execution: ExecutionSettings, label: str
) -> None:
    loaded = LoadedTokenizer(tokenizer, record("mine"))
    assert job_label(loaded, replace(SETTINGS, execution=execution)) == label


def test_codecs_run_on_the_cpu() -> None:
    assert tokenizer_device(Codec(), GPU) == CPU
    assert tokenizer_device(Network(), GPU) == GPU


@pytest.mark.parametrize(
    ("resolution", "near"),
    [(0, "choose 8$"), (-3, "choose 8$"), (7, "choose 8$"), (9, "8 or 16$"), (63, "56 or 64$")],
)
def test_a_resolution_is_a_number_of_latent_cells(resolution: int, near: str) -> None:
    with pytest.raises(ResolutionError, match=near):
        check_resolution(Codec(), resolution)
    check_resolution(Codec(), 8)
    check_resolution(Codec(), 64)
    pixels = Codec()
    pixels.latent = LatentSpec("discrete", 1, 3, bits_per_value=8)
    check_resolution(pixels, 1)


@pytest.mark.parametrize(
    ("asked", "on_cpu", "on_gpu"),
    [
        (None, BatchChoice(1, (1,)), BatchChoice(64, "auto")),
        ("auto", BatchChoice(1, "auto"), BatchChoice(64, "auto")),
        (8, BatchChoice(1, (8,)), BatchChoice(8, (8,))),
        ((1, 32), BatchChoice(1, (1, 32)), BatchChoice(32, (1, 32))),
    ],
)
def test_batches_by_device(asked: BatchSize, on_cpu: BatchChoice, on_gpu: BatchChoice) -> None:
    """Scores on a CPU are of single images, since its kernels round by the batch."""
    assert choose_batches(asked, CPU) == on_cpu
    assert choose_batches(asked, GPU) == on_gpu


@pytest.mark.parametrize("wrong", [0, (), (8, 0)])
def test_a_batch_has_an_image(wrong: BatchSize) -> None:
    with pytest.raises(UserError, match="batch_size"):
        choose_batches(wrong, CPU)
