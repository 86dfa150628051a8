"""Properties of every metric: batches, order, identity, noise; and unavailable metrics."""

import os
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from ssdd_bench.errors import DataError, UnavailableError, UnknownNameError
from ssdd_bench.metrics.base import MetricOptions, PairMetric
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features import base as features
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.metrics.moments import Moments, frechet_distance
from ssdd_bench.metrics.pixel_errors import PSNR
from ssdd_bench.metrics.suite import MetricSuite

CPU = torch.device("cpu")
METRICS = find_metrics("pairs")
LOCAL = [key for key, info in METRICS.items() if not info.assets]  # They need no download.
SIDE = {"ms_ssim": 176}  # px; the others take 64


@pytest.mark.medium
@pytest.mark.usefixtures("quick_effnet")
@pytest.mark.parametrize("key", LOCAL)
def test_neither_batches_nor_order_matter(key, photo_like, noisy, score_pairs):
    a = photo_like(6, side=SIDE.get(key, 64))
    b = noisy(a, 15)
    ids = list("abcdef")
    forward, *others = (score_pairs([key], a, b, batch, ids) for batch in (6, 4, 1))
    assert all(one.values == forward.values for one in others)
    backward = score_pairs([key], a.flip(0), b.flip(0), ids=ids[::-1])
    assert forward.values[key].value == pytest.approx(backward.values[key].value, rel=1e-6)
    assert forward.per_image == {key: pytest.approx(v) for key, v in backward.per_image.items()}


@pytest.mark.medium
@pytest.mark.parametrize("key", LOCAL)
def test_more_noise_is_worse(key, photo_like, noisy, score_pairs):
    a = photo_like(8, side=SIDE.get(key, 64))
    found = [score_pairs([key], a, noisy(a, s)).values[key].value for s in (5, 15, 45)]
    if METRICS[key].higher_is_better:
        found.reverse()
    assert found == sorted(found)
    assert len(set(found)) == 3


def test_an_image_that_comes_twice(photo_like):
    a = photo_like(1)
    with MetricSuite(["psnr"], CPU) as suite:
        suite.add_pairs(["a"], a, a)
        with pytest.raises(DataError, match="'a' came twice"):
            suite.add_pairs(["a"], a, a)


def test_unknown_metric():
    with pytest.raises(UnknownNameError, match="did you mean psnr"):
        MetricSuite(["psnrr"], CPU)


def test_a_metric_that_cannot_be_had_leaves_the_others(monkeypatch, photo_like, score_pairs):
    def missing(key, device):
        raise UnavailableError("net.pth is not here: ssdd-bench weights fetch net")

    monkeypatch.setattr(features, "make_extractor", missing)
    a = photo_like(3)
    values = score_pairs(["fd_effnet", "psnr"], a, a // 2).values
    assert list(values) == ["fd_effnet", "psnr"]
    assert values["psnr"].value is not None
    absent = values["fd_effnet"]
    assert (absent.value, absent.n) == (None, 3)
    assert "weights fetch net" in absent.unavailable
    with pytest.raises(UnavailableError, match="weights fetch net"):
        score_pairs(["fd_effnet"], a, a, strict=True)


@pytest.mark.medium
def test_features_are_computed_once(monkeypatch, photo_like, score_pairs):
    calls = []
    made = features.make_extractor("effnet", CPU)

    class Counting(Extractor):
        layers = made.layers
        backend = "counting"

        def __call__(self, images):
            calls.append(len(images))
            return made(images)

    monkeypatch.setattr(features, "make_extractor", lambda key, device: Counting())
    a = photo_like(5)
    sets = [key for key, info in METRICS.items() if info.network == "effnet"]
    score_pairs([*sets, "psnr"], a, a, batch=3)
    assert calls == [3, 3, 2, 2]


@pytest.mark.medium
@pytest.mark.usefixtures("quick_effnet")
def test_a_score_for_each_image_or_a_reason(monkeypatch, photo_like, score_pairs):
    monkeypatch.setattr(PSNR, "score", lambda self, references, reconstructions: [1.0])
    images = photo_like(2)
    found = score_pairs(["psnr", "mse"], images, images).values
    assert "score returned 1 number for 2 images" in found["psnr"].unavailable
    assert found["mse"].n == 2


@pytest.mark.parametrize("method", ["__init__", "load", "score"])
def test_a_metric_cannot_change_the_working_directory(monkeypatch, photo_like, method, tmp_path):
    called = getattr(PSNR, method)

    def leave(*arguments):
        os.chdir(tmp_path)
        return called(*arguments)

    monkeypatch.setattr(PSNR, method, leave)
    before, images = Path.cwd(), photo_like(2)
    with MetricSuite(["psnr"], CPU) as suite:
        assert Path.cwd() == before
        suite.add_pairs("ab", images, images)
        assert suite.compute().values["psnr"].n == 2
    assert Path.cwd() == before


def test_samples_and_references_may_differ_in_number_and_in_batches(photo_like, noisy):
    a = photo_like(7)
    b = noisy(photo_like(5, seed=1), 15)

    def score(step):
        with MetricSuite(["fd_effnet"], CPU, batch=3, kind="samples") as suite:
            for start in range(0, 7, step):
                cut = slice(start, start + step)
                suite.add_references([f"r{n}" for n in range(7)][cut], a[cut])
            for start in range(0, 5, step):
                cut = slice(start, start + step)
                suite.add_samples([f"s{n}" for n in range(5)][cut], b[cut])
            return suite.compute().values["fd_effnet"]

    found = score(1)
    assert found == score(4)
    assert found.n == 5
    assert found.value > 0
    assert "as many samples" in found.warning


def test_a_pair_metric_does_not_score_samples():
    with pytest.raises(UnknownNameError):
        MetricSuite(["psnr"], CPU, kind="samples")


class Recorded(PairMetric):
    """Remembers where the images were that it was given."""

    backend = "recorded"

    def __init__(self, on_device):
        self.on_device = on_device
        self.devices = []

    def update(self, ids, references, reconstructions):
        self.devices += [references.device.type, reconstructions.device.type]

    def compute(self):
        raise NotImplementedError


def test_groups_move_to_the_device_once_and_only_for_metrics_that_work_there(photo_like):
    images = photo_like(4)
    with MetricSuite(["psnr", "mse"], CPU, batch=2) as suite:
        ours, theirs = Recorded(True), Recorded(False)
        suite._pairs = {"psnr": ours, "mse": theirs}
        suite.device = torch.device("meta")
        suite.add_pairs("abcd", images, images)
    assert set(ours.devices) == {"meta"}
    assert set(theirs.devices) == {"cpu"}
    assert len(ours.devices) == len(theirs.devices) == 4


def test_every_metric_of_pairs_of_the_package_works_on_its_device():
    kinds = [info.load() for info in METRICS.values() if info.source == "built-in" and info.metric]
    pairs = [kind for kind in kinds if issubclass(kind, PairMetric)]
    assert len(pairs) > 5
    assert all(kind.on_device for kind in pairs)


@pytest.fixture
def pooled(monkeypatch):
    """Sides and hashes of the groups that reach the pool of features."""
    found = []
    monkeypatch.setattr(
        features.FeaturePool,
        "add",
        lambda self, side, images, hashes=None: found.append((side, hashes)),
    )
    return found


def test_hashes_stay_with_their_images(photo_like, pooled):
    """Whatever groups the images leave in."""
    images = photo_like(5)
    hashes = [bytes([index]) for index in range(5)]
    with MetricSuite(["psnr"], CPU, batch=2) as suite:
        suite.add_pairs("abc", images[:3], images[:3], hashes[:3])
        suite.add_pairs("d", images[3:4], images[3:4], hashes[3:4])
        suite.add_pairs("e", images[4:], images[4:])  # not known
        suite.compute()
    references = [one for side, one in pooled if side == "reference"]
    assert references == [(b"\x00", b"\x01"), (b"\x02", b"\x03"), None]
    assert all(one is None for side, one in pooled if side == "candidate")


def test_hashes_of_references_of_samples_stay_with_them_too(photo_like, pooled):
    images = photo_like(3)
    with MetricSuite(["fd_effnet"], CPU, batch=2, kind="samples") as suite:
        suite.add_references("abc", images, None, [b"a", b"b", b"c"])
        suite.add_samples("de", images[:2])
        suite.compute()
    assert pooled == [("reference", (b"a", b"b")), ("candidate", None), ("reference", (b"c",))]


class Colours(Extractor):
    """Mean colours, a network that takes no time."""

    layers: ClassVar = {"pool": 3}
    backend = "colours"

    def __call__(self, images):
        return {"pool": images.float().mean((2, 3)).numpy()}


def test_moments_of_a_file_take_the_place_of_references(photo_like, monkeypatch):
    monkeypatch.setattr(features, "make_extractor", lambda key, device: Colours())
    ours, theirs = photo_like(6, seed=1), photo_like(5)
    published, found = Moments(3), Moments(3)
    published.update(Colours()(ours)["pool"])
    found.update(Colours()(theirs)["pool"])
    asked = []

    class FromFile:
        def check(self, info):
            asked.append(info.key)
            if info.key == "kid":
                raise UnavailableError("the file holds no images")

        def of(self, info, dims):
            asked.append((info.key, dims))
            return published

    with MetricSuite(["fd_effnet", "kid"], CPU, kind="samples", moments=FromFile()) as suite:
        suite.add_samples("abcde", theirs)
        scores = suite.compute().values
    assert asked == ["fd_effnet", "kid", ("fd_effnet", 3)]
    assert scores["fd_effnet"].value == frechet_distance(published, found)
    absent = scores["kid"]
    assert (absent.value, absent.higher_is_better, absent.backend) == (None, False, "")
    assert absent.unavailable == "the file holds no images"


def test_what_is_made_is_told_the_device_and_the_options(monkeypatch):
    made = []
    kind = type(METRICS["psnr"])
    make = kind.make
    monkeypatch.setattr(
        kind, "make", lambda self, *given, **more: made.append(given) or make(self, *given, **more)
    )
    options = MetricOptions(lpips_padding=True)
    MetricSuite(["psnr", "mse"], CPU, options=options)
    assert made == [(CPU, options)] * 2
