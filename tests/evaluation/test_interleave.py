"""Decoders timed by turns: ratios to a baseline."""

import time

import pytest
import torch

from ssdd_bench.data.images import open_images
from ssdd_bench.evaluation.interleave import compare_by_turns
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import Settings
from ssdd_bench.evaluation.work import first_images
from ssdd_bench.protocols.registry import get_protocol


@pytest.mark.slow
def test_a_decoder_that_takes_twice_as_long_has_a_ratio_of_a_half(block_mean, record, photos):
    class Slow(block_mean):
        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def decode(self, latent, noise):
            time.sleep(self.seconds)
            return super().decode(latent, noise)

    settings = Settings(16, get_protocol("default-v1"), (), torch.device("cpu"))
    tokenizers = {
        name: LoadedTokenizer(Slow(seconds), record(name))
        for name, seconds in (("a", 0.01), ("b", 0.02))
    }
    examples = first_images(open_images(photos), settings)
    assert len(examples.ids) == len(examples.references) == 8
    found = compare_by_turns(tokenizers, "a", examples, settings, turns=5)
    assert found.keys() == {"b"}
    assert found["b"].baseline == "a"
    assert found["b"].turns == 5
    assert 0.4 < found["b"].ratio < 0.65
