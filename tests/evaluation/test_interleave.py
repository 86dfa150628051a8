"""Decoders timed by turns: ratios to a baseline, on a clock that stands still between calls."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import interleave as module
from ssdd_bench.evaluation import timing
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.interleave import TURNS, compare_by_turns
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import BatchChoice, Settings
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
    assert found["b"].batch == found["c"].batch == 1
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


class Limited:
    """Makes a tokenizer that runs out of memory; notes the batches that were decoded."""

    def __init__(self, base: Any, limit: int, alone: int | None = None) -> None:
        self.batches: list[int] = []
        layer, batches = torch.nn.Linear(1, 1), self.batches

        class Network(base):  # type: ignore[misc]
            def networks(self):
                return {"decoder": layer}

            def decode(self, latent, noise):
                size = len(latent)
                first = alone is not None and len(batches) < 2
                if size > (alone if first else limit):
                    raise torch.OutOfMemoryError("no memory left")
                batches.append(size)
                return super().decode(latent, noise)

        self.tokenizer = Network()


@pytest.mark.medium
@pytest.mark.parametrize("compile", ["off", "default"])
def test_all_take_the_batch_that_fits_the_largest(
    compile, block_mean, record, photos, uncompiled, monkeypatch
):
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)
    monkeypatch.setattr(module, "choose_batches", lambda size, device: BatchChoice(8, (8,)))
    made = [Limited(block_mean, 8), Limited(block_mean, 3, alone=4), Limited(block_mean, 8)]
    tokenizers = {
        name: LoadedTokenizer(one.tokenizer, record())
        for name, one in zip("abc", made, strict=True)
    }
    settings = replace(SETTINGS, execution=ExecutionSettings(compile=compile))
    examples = first_images(open_images(photos), settings)
    found = compare_by_turns(tokenizers, "a", examples, settings, turns=3)
    assert {name: one.batch for name, one in found.items()} == {"b": 2, "c": 2}
    assert [one.batches[-3:] for one in made] == [[2] * 3] * 3
    if compile == "default":  # the third is compiled for what fitted the second alone
        assert made[0].batches[0] == 8
        assert made[1].batches[0] == made[2].batches[0] == 4
    # One for each tokenizer at the end, one where "b" was compiled, and one for the turns.
    assert len(uncompiled) == (5 if compile == "default" else 0)


def test_no_turns_where_one_image_does_not_fit(block_mean, record, photos, monkeypatch):
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)
    made = Limited(block_mean, 1), Limited(block_mean, 0)
    tokenizers = {
        name: LoadedTokenizer(one.tokenizer, record()) for name, one in zip("ab", made, strict=True)
    }
    examples = first_images(open_images(photos), SETTINGS)
    with pytest.raises(UserError, match="one image"):
        compare_by_turns(tokenizers, "a", examples, SETTINGS, turns=3)
