"""Decoders timed by turns: ratios to a baseline, on a clock that stands still between calls."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ssdd_bench.data.images import open_images
from ssdd_bench.evaluation import interleave as module
from ssdd_bench.evaluation import timing
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.interleave import TURNS, compare_by_turns
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import Settings
from ssdd_bench.evaluation.work import first_images
from ssdd_bench.protocols.registry import get_protocol

CPU, META = torch.device("cpu"), torch.device("meta")
SETTINGS = Settings(16, get_protocol("default-v1"), (), CPU)


@pytest.mark.medium
def test_ratios_are_of_images_per_second(block_mean, record, photos, monkeypatch):
    """A network decodes one batch; a codec, whose time depends on them, all images."""
    now, formats = [0.0], []
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(block_mean):
        def __init__(self, seconds, networks):
            super().__init__()
            self.seconds = seconds
            self.layers = {"decoder": torch.nn.Linear(1, 1)} if networks else {}

        def networks(self):
            return self.layers

        def decode(self, latent, noise):
            now[0] += self.seconds
            formats.append([one.weight.dtype for one in self.layers.values()])
            return super().decode(latent, noise)

    tokenizers = {
        name: LoadedTokenizer(Slow(seconds, networks), record(f"label {name}"))
        for name, seconds, networks in (("a", 1, True), ("b", 2, True), ("c", 4, False))
    }
    settings = Settings(16, SETTINGS.protocol, (), CPU, execution=ExecutionSettings("bfloat16"))
    examples = first_images(open_images(photos), settings)
    assert len(examples.ids) == len(examples.references) == 8
    found = compare_by_turns(tokenizers, "a", examples, settings, turns=5)
    assert found.keys() == {"b", "c"}
    assert found["b"].baseline == found["c"].baseline == "label a (bfloat16)"
    assert (found["b"].ratio, found["b"].interval, found["b"].turns) == (0.5, (0.5, 0.5), 5)
    assert found["c"].ratio == 0.25
    assert now[0] == (5 + 2) * (1 + 2 + 8 * 4)
    assert formats.count([torch.bfloat16]) == 7 * 2
    networks = [tokenizers[name].tokenizer.layers["decoder"] for name in "ab"]
    assert {one.weight.dtype for one in networks} == {torch.float32}
    found = compare_by_turns(tokenizers, "c", examples, settings)
    assert found["a"].baseline == "label c"
    assert (found["a"].ratio, found["a"].turns) == (4, TURNS)


def test_those_of_another_device_are_left_out(block_mean, record, photos, monkeypatch):
    """A codec runs on the CPU; the batch is that of the baseline's device."""
    timed: list[Any] = []

    class Timed:
        calls = 1

        def __init__(self, tokenizer, examples, batch, protocol, seed, device):
            timed.append((batch, protocol.id, seed, device))
            self.batch = batch

        def decode(self):
            raise NotImplementedError

    class Network(block_mean):
        def networks(self):
            return {"decoder": torch.nn.Linear(1, 1)}

    monkeypatch.setattr(module, "TimedImages", Timed)
    monkeypatch.setattr(
        module, "time_by_turns", lambda calls, device, turns: np.ones((turns, len(calls)))
    )
    tokenizers = {
        "codec": LoadedTokenizer(block_mean(), record()),
        "network": LoadedTokenizer(Network(), record()),
        "other": LoadedTokenizer(Network(), record()),
    }
    settings = Settings(16, SETTINGS.protocol, (), META, seed=6, batch_size=(4, 2))
    examples = first_images(open_images(photos), settings)
    found = compare_by_turns(tokenizers, "network", examples, settings, 3)
    assert found.keys() == {"other"}
    assert timed == [(1, "default-v1", 6, META)] * 2
