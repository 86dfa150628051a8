"""Samples whose latents were scaled by the wrong statistics are noticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.data.statistics import ChannelStats, ChannelSums
from ssdd_bench.generation.batches import decode_latents
from ssdd_bench.generation.check import check_colours, check_latents
from ssdd_bench.generation.model import load_latent_model


@pytest.mark.parametrize(
    ("scale", "shift", "warned"), [(1.0, 0.0, False), (0.4, 0.0, True), (1.0, 2.0, True)]
)
def test_mis_scaled_latents_are_noticed(latents, trained, block_mean, scale, shift, warned):
    """Real latents stand for a perfect network; the statistics that map them back are wrong."""
    rows = np.arange(24)
    statistics = latents.record.statistics
    perfect = statistics.normalise(latents.batch(rows, rows % 2 == 0))
    wrong = ChannelStats(
        tuple(mean + shift for mean in statistics.mean),
        tuple(std * scale for std in statistics.std),
    )
    model = load_latent_model(trained, 4)
    model = replace(model, facts=replace(model.facts, statistics=wrong))
    noise = KeyedNoise(0, [str(i) for i in rows], "decode")
    decoded = decode_latents(model, block_mean(), perfect, noise)
    colours = ChannelSums.of((decoded.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    found = [
        *check_latents(ChannelSums.of(perfect.numpy())),
        *check_colours(colours, latents.record.pixels),
    ]
    assert bool(found) == warned
    if warned:
        assert "scaled by the wrong statistics" in found[0]


def test_latents_that_were_not_mapped_back_are_noticed(latents):
    raw = latents.batch(np.arange(24), np.zeros(24, bool))  # mean 5, where N(0, 1) is expected
    (line,) = check_latents(ChannelSums.of(raw.numpy()))
    assert "mean of a channel by 6.5" in line
