"""Settings of protocols do what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from passes import pass_over
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise, OrderedNoise
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.evaluation import run, work
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, prepare
from ssdd_bench.evaluation.timing import TimingSettings, measure_speed
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import default_metrics
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.tables.build import build_tables

CPU = torch.device("cpu")
SIZE = 32


class Plain(Tokenizer):
    """The pixels are the latent; remembers what it was given."""

    latent = LatentSpec("continuous", 1, 3)

    def __init__(self, draws=1, fails_above=None):
        self.draws = draws
        self.fails_above = fails_above
        self.encode_noise = []
        self.decode_noise = []
        self.products = set()
        self.layer = nn.Linear(2, 2)

    def encode(self, images, noise=None):
        self.products.add(self.layer(torch.zeros(1, 2)).dtype)
        drawn = None if noise is None else noise.normal(images.shape[1:])
        self.encode_noise.append(drawn)
        data = images if drawn is None else images + 0.1 * drawn
        return Latent(data, tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        self.products.add(self.layer(torch.zeros(1, 2)).dtype)
        drawn = torch.stack([noise.normal((3, *latent.size)) for _ in range(self.draws)])
        if self.fails_above is not None and len(latent) > self.fails_above:
            raise torch.OutOfMemoryError("no memory left")
        self.decode_noise.append(drawn)
        return latent.data + 0.05 * drawn.sum(0)


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(7, (40, 40)))


def passed(photos, protocol, tokenizer, batch=3, seed=0):
    """The pass of a tokenizer, and the PSNR of its reconstructions."""
    protocol = get_protocol(protocol)
    loader = ImageLoader(photos, SIZE, protocol.crop, batch)
    with MetricSuite(["psnr"], CPU) as suite:
        (seen,) = pass_over(tokenizer, loader, suite, protocol, seed, repeat=False)
        suite.merge(seen.metrics)
        return seen, suite.compute().values["psnr"].value


@pytest.mark.parametrize("name", ["ssdd-paper-v1", "ldm-v1"])
def test_crop_of_the_papers_is_torchvisions(name):
    photographs = open_images(None, 4)
    loader = ImageLoader(photographs, 64, get_protocol(name).crop, 4)
    reference = T.Compose([T.Resize(64), T.CenterCrop(64)])
    (batch,) = loader
    for image_id, image in zip(batch.ids, batch.images, strict=True):
        expected = np.asarray(reference(photographs.read(image_id)))
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    (other,) = ImageLoader(photographs, 64, "adm", 4)
    assert not torch.equal(batch.images, other.images)


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_ordered_noise_is_one_generator_over_the_set(photos, batch):
    tokenizer = Plain()
    passed(photos, "ssdd-paper-v1", tokenizer, batch, seed=5)
    got = torch.cat(tokenizer.decode_noise, dim=1)[0]
    generator = torch.Generator().manual_seed(5)
    expected = torch.randn((7, 3, SIZE, SIZE), generator=generator)
    assert torch.equal(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("draws", [1, 2])
def test_ordered_noise_depends_on_no_batch_size_and_on_no_failed_try(photos, draws):
    expected = passed(photos, "ssdd-paper-v1", Plain(draws), 1)[1]
    assert passed(photos, "ssdd-paper-v1", Plain(draws), 7)[1] == expected
    small, score = passed(photos, "ssdd-paper-v1", Plain(draws, fails_above=2), 7)
    assert small.warnings
    assert score == expected
    assert passed(photos, "ssdd-paper-v1", Plain(draws), 3, seed=1)[1] != expected


def test_a_generator_for_each_batch_is_caught(photos):
    """The known mistake: what an evaluator does that seeds its generator again for each batch."""

    class PerBatch(Plain):
        def decode(self, latent, noise):
            return super().decode(latent, OrderedNoise(0, len(latent)))

    scores = {passed(photos, "ssdd-paper-v1", PerBatch(), batch)[1] for batch in (1, 7)}
    assert len(scores) == 2


def test_noise_by_order_is_not_noise_by_key(photos):
    ordered, keyed = Plain(), Plain()
    passed(photos, "ssdd-paper-v1", ordered, 7)
    passed(photos, "default-v1", keyed, 7)
    assert not torch.isclose(ordered.decode_noise[0], keyed.decode_noise[0]).any(0).all()
    ids = photos.ids
    expected = KeyedNoise(0, ids, "decode").normal((3, SIZE, SIZE))
    assert torch.equal(keyed.decode_noise[0][0], expected)


def test_second_draws_repeat_no_first_ones():
    noise = OrderedNoise(0, 64)
    first, second = (noise.normal((64, 64)).flatten() for _ in range(2))
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.01


@pytest.mark.medium
def test_only_ldm_samples_the_posterior(photos):
    for name in ("default-v1", "ssdd-paper-v1"):
        tokenizer = Plain()
        passed(photos, name, tokenizer)
        assert set(tokenizer.encode_noise) == {None}
    found = []
    for batch in (1, 7):
        tokenizer = Plain()
        found.append(passed(photos, "ldm-v1", tokenizer, batch)[1])
        expected = KeyedNoise(0, photos.ids, "encode").normal((3, SIZE, SIZE))
        assert torch.equal(torch.cat(tokenizer.encode_noise), expected)
    assert found[0] == found[1]
    mode = replace(get_protocol("ldm-v1"), posterior="mode")
    assert passed(photos, mode, Plain())[1] > found[0] + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "label"),
    [
        ("ssdd-paper-v1", torch.bfloat16, "bfloat16 autocast"),
        pytest.param("default-v1", torch.float32, "float32", marks=pytest.mark.slow),
    ],
)
def test_autocast_holds_for_the_networks_alone(photos, name, dtype, label):
    tokenizer = Plain()
    protocol = get_protocol(name)

    class Watching(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            assert not torch.is_autocast_enabled("cpu")
            super().add_pairs(ids, references, reconstructions)

    loader = ImageLoader(photos, SIZE, protocol.crop, 4)
    with Watching(["psnr"], CPU) as suite:
        pass_over(tokenizer, loader, suite, protocol, repeat=False)
    assert tokenizer.products == {dtype}
    batch = next(iter(loader))
    examples = Examples(batch.ids, batch.images, batch.images)
    settings = TimingSettings(seconds=0.01, warmup=1, min_calls=1, max_calls=1)
    with prepare(tokenizer, protocol, CPU, DEFAULT_EXECUTION, SIZE, 2) as prepared:
        measure_speed(prepared, examples, [2], 0, settings)
    assert tokenizer.products == {dtype, torch.float32}  # in which work is counted
    assert protocol.number_format == label


def plan_of(make_photos, out, **changes):
    options = {
        "requests": tuple(parse_requests("identity,jpeg:quality=20")),
        "resolutions": (48,),
        "metrics": (),
        "out": out,
        "protocols": ("default-v1", "ssdd-paper-v1"),
        "data": make_photos(3, (48, 48)),
        "device": "cpu",
        "speed": False,
        "pictures": False,
    }
    return RunConfig(**options | changes)


@pytest.mark.medium
def test_each_protocol_brings_its_metrics_and_their_options(make_photos, tmp_path, monkeypatch):
    made = []

    class Watching(MetricSuite):
        def __init__(self, keys, device, group, options, *more, **known):
            made.append((tuple(keys), options))
            super().__init__(keys, device, group, options, *more, **known)

    monkeypatch.setattr(work, "MetricSuite", Watching)
    identity = tuple(parse_requests("identity"))
    run.run_jobs(plan_of(make_photos, tmp_path / "a", requests=identity))
    paper = get_protocol("ssdd-paper-v1")
    assert made == [
        (default_metrics("pairs"), MetricOptions(lpips_padding=False, dreamsim_resize=True)),
        (paper.metrics, MetricOptions(lpips_padding=True, dreamsim_resize=False)),
    ]
    made.clear()
    run.run_jobs(plan_of(make_photos, tmp_path / "b", requests=identity, metrics=("psnr",)))
    assert [keys for keys, _ in made] == [("psnr",), ("psnr",)]


@pytest.mark.medium
def test_protocols_stand_side_by_side_and_never_in_one_table(make_photos, tmp_path):
    """Even where both crops give the same pixels, as here."""
    plan = plan_of(make_photos, tmp_path, metrics=("psnr", "psnr_pooled"))
    outcome = run.run_jobs(plan)
    assert not outcome.failures
    results = [finished.result for finished in outcome.finished]
    assert len({result.data.pixels_sha256 for result in results}) == 1
    assert len({result.fingerprint for result in results}) == 4
    tables = build_tables(to_frame(results))
    assert len(tables) == 2
    for table, protocol in zip(tables, ("default-v1", "ssdd-paper-v1"), strict=True):
        assert protocol in table.title
        names = [cell.text for cell in table.columns[0].cells]
        assert names == ["jpeg:quality=20", "identity"]
