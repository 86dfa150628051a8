"""Decoders timed by turns: ratios to a baseline, on a clock that stands still between calls."""

from dataclasses import replace
from pathlib import Path
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
from ssdd_bench.evaluation.interleave import TURNS, Turns, compare_by_turns
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import BatchChoice, Settings
from ssdd_bench.evaluation.timing import TURN_WARMUP
from ssdd_bench.evaluation.work import first_images
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import SpeedComparison
from ssdd_bench.results.store import from_json

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"
SPEED = from_json(read_json(EXAMPLE), EXAMPLE).speed
assert SPEED is not None
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
    monkeypatch.setattr(module, "load_warning", lambda: "busy")
    found = compare_by_turns(tokenizers, "a", examples, settings, turns=5)
    assert [(name, one.seconds.tolist()) for name, one in found.items()] == [
        ("a", [1.0] * 5),
        ("b", [2.0] * 5),
        ("c", [4.0] * 5),
    ]
    assert {(one.batch, one.warning) for one in found.values()} == {(1, "busy")}
    label = "label a (bfloat16)"
    assert [one.comparison for one in found.values()] == [
        None,
        SpeedComparison(label, 0.5, (0.5, 0.5), 5, 1),
        SpeedComparison(label, 0.25, (0.25, 0.25), 5, 1),
    ]
    assert now[0] == (5 + 2) * (1 + 2 + 8 * 4)
    assert formats.count([torch.bfloat16]) == 7 * 2
    networks = [tokenizers[name].tokenizer.layers["decoder"] for name in "ab"]
    assert {one.weight.dtype for one in networks} == {torch.float32}
    found = compare_by_turns(tokenizers, "c", examples, settings)
    assert found["a"].comparison == SpeedComparison("label c", 4, (4, 4), TURNS, 1)


def test_rates_are_those_of_the_turns() -> None:
    """They agree with the ratio; the memory, the work and timings of other batches stay."""
    record = replace(
        SPEED,
        decode=replace(SPEED.decode, batch=8),
        decode_single=replace(SPEED.decode, batch=1),
    )
    comparison = SpeedComparison("klvae", 2.0, (1.9, 2.1), 4, 8)
    turns = Turns(np.array([1.0, 2.0, 3.0, 4.0]), 8, comparison)
    found = turns.put_into(record)
    assert found.decode == replace(
        record.decode,
        median_s=2.5,
        q1_s=1.75,
        q3_s=3.25,
        repeats=4,
        warmup=TURN_WARMUP,
        images_per_s=3.2,
    )
    assert found == replace(record, decode=found.decode, comparison=comparison)
    found = replace(turns, batch=1, comparison=None, warning="busy").put_into(record)
    assert found.decode == record.decode
    assert found.decode_single
    assert found.decode_single.images_per_s == 0.4
    assert (found.comparison, found.warning) == (None, "busy")
    found = replace(turns, warning="busy").put_into(replace(record, warning="before"))
    assert found.warning == "before"


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
    assert found.keys() == {"network", "other"}
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
    assert {name: one.batch for name, one in found.items()} == {"a": 2, "b": 2, "c": 2}
    assert found["b"].comparison
    assert found["b"].comparison.batch == 2
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
