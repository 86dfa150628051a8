"""Sampling speed in other number formats, and compiled."""

from functools import partial

import pytest
import torch

from ssdd_bench.generation import speed
from ssdd_bench.generation.sampler import SamplerSettings

CPU = torch.device("cpu")


@pytest.mark.medium
def test_number_format_and_compilation(tiny_size, monkeypatch):
    seen = []
    original = speed.time_calls

    def watch(call, device, settings):
        seen.append(call().dtype)
        return original(call, device, settings)

    monkeypatch.setattr(speed, "time_calls", watch)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    settings = SamplerSettings("euler", 2)
    for dtype, compile in (("bfloat16", "off"), ("float32", "default")):
        (row,) = speed.measure_sampling(["tiny"], ["f8c4"], 64, 2, settings, 2, CPU, dtype, compile)
        assert (row.dtype, row.compile, row.batch) == (dtype, compile, 2)
        assert row.gmac > 0
    assert seen == [torch.bfloat16, torch.float32]
