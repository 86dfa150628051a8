"""How a discrete tokenizer used its codebook, counted over a run."""

import math

import pytest
import torch

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import iterate_batches
from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation.reconstruct import reconstruct
from ssdd_bench.evaluation.run import RunConfig, run_jobs
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import get_protocol

CPU = torch.device("cpu")


class Halves(Tokenizer):
    """The code of each cell is 0 or the one given, half of them each; of eight."""

    def __init__(self, spec, code=5):
        self.latent = spec
        self._code = code

    def encode(self, images, noise=None):
        data = torch.zeros(len(images), 1, 8, 8, dtype=torch.long)
        data[..., :4] = self._code
        kind = torch.float32 if self.latent.kind == "continuous" else torch.long
        return Latent(data.to(kind), (32, 32))

    def decode(self, latent, noise):
        return torch.zeros(len(latent), 3, *latent.size)


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(3, (32, 32))


def count(tokenizer, photos):
    protocol = get_protocol("default-v1")
    loader = iterate_batches(open_images(photos), 32, protocol.crop, 2)
    with MetricSuite(["mse"], CPU) as suite:
        return reconstruct(tokenizer, loader, suite, protocol, 0, CPU).codes


def test_usage_and_entropy(photos):
    discrete = LatentSpec("discrete", 4, 1, bits_per_value=3)
    assert count(Halves(discrete), photos) == {"code_usage": 0.25, "code_entropy_bits": 1.0}
    assert count(Halves(discrete, code=0), photos) == {"code_usage": 1 / 8, "code_entropy_bits": 0}
    # A codebook whose size is no power of two.
    thousand = LatentSpec("discrete", 4, 1, bits_per_value=math.log2(1000))
    assert count(Halves(thousand, code=999), photos)["code_usage"] == 2 / 1000


def test_continuous_latents_and_huge_codebooks_have_none(photos):
    assert count(Halves(LatentSpec("continuous", 4, 1)), photos) == {}
    assert count(Halves(LatentSpec("discrete", 4, 1, bits_per_value=32)), photos) == {}


def test_a_code_outside_the_codebook_is_the_plugins_mistake(photos):
    with pytest.raises(PluginError, match="code 8"):
        count(Halves(LatentSpec("discrete", 4, 1, bits_per_value=3), code=8), photos)


def test_a_result_holds_them(photos, tmp_path):
    plan = RunConfig(
        requests=tuple(parse_requests("identity")),
        resolutions=(32,),
        metrics=("mse",),
        out=tmp_path,
        data=photos,
        device="cpu",
        speed=False,
        pictures=False,
    )
    (finished,) = run_jobs(plan).finished
    extra = finished.result.tokenizer.extra
    assert 0 < extra["code_usage"] <= 1
    assert 0 < extra["code_entropy_bits"] <= 8
