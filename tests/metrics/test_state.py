"""Chunks that are scored apart, saved and merged give the scores of all their images."""

import json
import sys
import time
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.metrics import lpips, pixel_errors
from ssdd_bench.metrics import suite as module
from ssdd_bench.metrics.base import MetricInfo, PairMetric
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features import base as features
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.metrics.moments import Moments
from ssdd_bench.metrics.state import SuiteState
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.results.schema import MetricValue

pytestmark = pytest.mark.usefixtures("quick_effnet")
CPU = torch.device("cpu")
BATCH = 4
CHUNKS = [(0, 8), (8, 16), (16, 22)]
PAIRS = ["psnr", "psnr_pooled", "mse", "mae", "ssim", "ssim_skimage7"]
DISTRIBUTIONS = ["rfid", "sfid", "kid", "precision", "recall", "isc", "fd_effnet"]


class Pooled(Extractor):
    """A quick network for every key: of the four quarters of each channel, of many magnitudes."""

    layers = {"pool": 12, "logits": 4, "spatial": 3}  # noqa: RUF012
    backend = "pooled 1"

    def __call__(self, images):
        pooled = torch.nn.functional.adaptive_avg_pool2d(images.float() / 30, 2)
        pooled = pooled.exp().flatten(1).numpy()
        return {"pool": pooled, "logits": pooled[:, :4] / 900, "spatial": pooled[:, :3]}


@pytest.fixture
def pooled(monkeypatch):
    monkeypatch.setattr(features, "make_extractor", lambda key, device: Pooled())


@pytest.fixture
def pairs(photo_like, noisy):
    def make(n=CHUNKS[-1][1], side=32):
        images = photo_like(n, side=side)
        return [f"{i:04}" for i in range(n)], images, noisy(images, 25)

    return make


def cut(pairs, start, stop):
    return [one[start:stop] for one in pairs]


def reopened(state, path):
    """The state as a file holds it."""
    save_file(dict(state.arrays), path, metadata={"facts": json.dumps(state.facts)})
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return SuiteState(load_file(path), json.loads(file.metadata()["facts"]))


def in_chunks(keys, pairs, chunks=CHUNKS, order=None, folder=None, **more):
    """States of chunks; by one suite, or saved by a suite each that takes them in some order."""
    if order is None:
        with MetricSuite(keys, CPU, BATCH, **more) as suite:
            found = []
            for chunk in chunks:
                suite.add_pairs(*cut(pairs, *chunk))
                found.append(suite.take())
            return found
    states = {}
    for index in order:
        start, stop = chunks[index]
        with MetricSuite(keys, CPU, BATCH, **more) as suite:
            for image in range(start, stop):
                suite.add_pairs(*cut(pairs, image, image + 1))
            states[index] = reopened(suite.take(), folder / f"{index}.safetensors")
    return [states[index] for index in range(len(chunks))]


def merged(keys, states, **more):
    with MetricSuite(keys, CPU, BATCH, only_merges=True, **more) as suite:
        for state in states:
            suite.merge(state)
        return suite.compute()


def at_once(keys, pairs, **more):
    with MetricSuite(keys, CPU, BATCH, **more) as suite:
        suite.add_pairs(*pairs)
        return suite.compute()


def check(keys, pairs, folder, **more):
    """The worker and the order change no bit; the number of chunks none of a pair score."""
    n = len(pairs[0])
    chunks = [(0, 8), (8, n - 6), (n - 6, n)]
    one = merged(keys, in_chunks(keys, pairs, chunks, **more), **more)
    states = in_chunks(keys, pairs, chunks, order=(2, 0, 1), folder=folder, **more)
    other = merged(keys, states, **more)
    assert one == other
    assert all(value.value is not None for value in one.values.values())
    whole = at_once(keys, pairs, **more)
    assert one.per_image == whole.per_image
    for key, value in one.values.items():
        if key in PAIRS or key == "ms_ssim":
            assert value == whole.values[key]
        assert value.value == pytest.approx(whole.values[key].value, rel=1e-9)
    return one


@pytest.mark.medium
def test_pairs(pairs, tmp_path):
    found = check(PAIRS, pairs(), tmp_path)
    assert list(found.per_image["psnr"]) == pairs()[0]


@pytest.mark.slow
def test_scales(pairs, tmp_path):
    check(["ms_ssim"], pairs(side=176), tmp_path)


@pytest.mark.medium
@pytest.mark.parametrize("intervals", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_network_with_few_images(pairs, tmp_path, intervals):
    found = check(["fd_effnet"], pairs(), tmp_path, intervals=intervals)
    assert (found.values["fd_effnet"].interval is not None) == intervals


@pytest.mark.medium
@pytest.mark.parametrize("expected", [None, 12, 60])
def test_distributions(pooled, pairs, tmp_path, expected):
    for intervals in (False, True):
        found = check(DISTRIBUTIONS, pairs(62), tmp_path, intervals=intervals, expected=expected)
    assert found.values["rfid"].extra["fd_infinity"] > 0


@pytest.mark.slow
def test_any_chunks(pooled, pairs):
    keys, images = [*PAIRS, *DISTRIBUTIONS], pairs(48)
    whole = at_once(keys, images)
    for edges in ((0, 48), (0, 4, 48), (0, 4, 8, 12, 40, 48), tuple(range(0, 49, 4))):
        found = merged(keys, in_chunks(keys, images, list(pairwise(edges))))
        assert found.per_image == whole.per_image
        for key, value in found.values.items():
            assert value.value == pytest.approx(whole.values[key].value, rel=1e-9), key


def test_another_order_is_another_sum(pooled, pairs):
    """Chunks are merged in the order of their numbers, since sums depend on it."""
    states = in_chunks(["rfid"], pairs(48), list(pairwise(range(0, 49, 16))))
    values = {merged(["rfid"], states[i:] + states[:i]).values["rfid"].value for i in range(3)}
    assert len(values) > 1


def test_samples_with_labels(pooled, photo_like, tmp_path):
    keys = ["gfid", "fd_effnet_intra", "isc"]
    images = photo_like(48)
    ids, labels = [f"{i:02}" for i in range(48)], [i % 3 for i in range(48)]

    def add(suite, start, stop):
        suite.add_samples(ids[start:stop], images[start:stop], labels[start:stop])
        if start == 0:  # References need not be spread like samples.
            suite.add_references(ids[:24], images.flip(3)[:24], labels[:24])

    with MetricSuite(keys, CPU, BATCH, kind="samples") as suite:
        states = []
        for part in ((0, 16), (16, 48)):
            add(suite, *part)
            states.append(reopened(suite.take(), tmp_path / "state.safetensors"))
        add(suite, 0, 48)
        whole = suite.compute()
    found = merged(keys, states, kind="samples")
    for key in keys:
        assert found.values[key].value == pytest.approx(whole.values[key].value, rel=1e-9)
    with pytest.raises(DataError, match="samples, expected pairs"):
        merged(["rfid"], states)


def test_an_image_in_two_chunks(pairs):
    images = pairs()
    states = in_chunks(["psnr"], images, [(0, 8), (7, 16)])
    with pytest.raises(DataError, match="'0007' came twice"):
        merged(["psnr"], states)


def test_rows_are_kept_only_for_metrics_that_need_them(pooled, pairs):
    images = pairs(40)

    def names(keys, **more):
        (state,) = in_chunks(keys, images, [(0, 40)], **more)
        return {name.rpartition("/")[2] for name in state.arrays if name.startswith("features/")}

    assert names(["rfid"]) == {"n", "sum", "products"}
    assert names(["rfid"], intervals=True) == {"n", "sum", "products", "rows"}
    assert names(["kid"]) == {"n", "sum", "products", "rows"}
    assert names(["rfid"], expected=12) == {"n", "sum", "products"}
    few = in_chunks(["rfid"], images, [(0, 10), (10, 20)])
    assert all("features/inception/pool/reference/rows" in one.arrays for one in few)
    large = in_chunks(["rfid"], images, [(0, 10), (10, 20)], expected=20)
    assert all("features/inception/pool/reference/rows" not in one.arrays for one in large)


def test_rows_outlive_their_suite(pooled, pairs):
    (state,) = in_chunks(["kid"], pairs(40), [(0, 40)])
    rows = state.arrays["features/inception/pool/candidate/rows"]
    np.testing.assert_array_equal(rows, Pooled()(pairs(40)[2])["pool"])


def test_merging_needs_no_network_and_no_weights(pooled, pairs, monkeypatch):
    def load(self):
        self.backend = "lpips of this test"

    keys = ["lpips_alex", "rfid", "psnr"]
    monkeypatch.setattr(lpips.LPIPS, "load", load)
    monkeypatch.setattr(lpips.LPIPS, "score", lambda self, a, b: [0.25] * len(a))
    states = in_chunks(keys, pairs())

    def fail(*arguments):
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(lpips.LPIPS, "load", fail)
    monkeypatch.setattr(features, "make_extractor", fail)
    monkeypatch.setattr(pixel_errors.PSNR, "backend", "another version")
    values = merged(keys, states, strict=True).values
    assert values["lpips_alex"].value == 0.25
    assert values["lpips_alex"].backend == "lpips of this test"
    assert values["rfid"].backend == "pooled 1"
    assert "integer sums" in values["psnr"].backend
    with (
        MetricSuite(keys, CPU, only_merges=True) as suite,
        pytest.raises(RuntimeError, match="takes no images"),
    ):
        suite.add_pairs(*pairs())


def test_chunks_by_two_versions_have_no_score(pooled, pairs, monkeypatch):
    keys = ["psnr", "rfid", "mse"]
    states = in_chunks(keys, pairs(), [(0, 8)])
    monkeypatch.setattr(pixel_errors.PSNR, "backend", "torch 99")
    monkeypatch.setattr(Pooled, "backend", "pooled 2")
    states += in_chunks(keys, pairs(), [(8, 16)])
    values = merged(keys, states).values
    assert "torch 99" in values["psnr"].unavailable
    assert "pooled 1 in some chunks and by pooled 2" in values["rfid"].unavailable
    assert values["mse"].n == 16


@pytest.fixture
def failing(monkeypatch):
    """PSNR fails on one image."""
    score = pixel_errors.PSNR.score

    def fail(self, references, reconstructions):
        if references.max() == 7:
            raise RuntimeError("odd image\nand more")
        return score(self, references, reconstructions)

    monkeypatch.setattr(pixel_errors.PSNR, "score", fail)


def test_a_metric_that_fails_in_one_chunk_is_unavailable_in_all(failing, pairs):
    keys, images = ["psnr", "mse"], pairs()
    images[1][9] = 7  # with its neighbours in the second chunk below the rest
    images[1][8:12] = images[1][8:12].clamp(max=7)
    for states in (in_chunks(keys, images), [*reversed(in_chunks(keys, images))]):
        found = merged(keys, states)
        assert found.values["psnr"].unavailable == (
            "psnr (built-in) failed: RuntimeError: odd image"
        )
        assert (found.values["psnr"].value, found.values["psnr"].n) == (None, 22)
        assert found.values["mse"].n == 22
        assert list(found.per_image) == ["mse"]
    with pytest.raises(UnavailableError, match="odd image"):
        merged(keys, states, strict=True)
    with pytest.raises(UnavailableError, match="odd image"):
        in_chunks(keys, images, strict=True)
    first = in_chunks(keys, images)[0], in_chunks(keys, images)[2]
    assert merged(keys, first).values["psnr"].n == 14  # The others are not affected.


def test_a_network_that_fails_leaves_other_metrics(pairs, monkeypatch):
    class Broken(Pooled):
        def __call__(self, images):
            raise RuntimeError("no kernel")

    made = {"effnet": Pooled(), "inception": Broken()}
    monkeypatch.setattr(features, "make_extractor", lambda key, device: made[key])
    keys = ["rfid", "fd_effnet", "psnr"]
    values = merged(keys, in_chunks(keys, pairs())).values
    assert values["rfid"].unavailable == "inception failed: RuntimeError: no kernel"
    assert values["fd_effnet"].value > 0
    assert values["psnr"].value > 0
    with pytest.raises(RuntimeError, match="no kernel"):
        in_chunks(keys, pairs(), strict=True)


@pytest.mark.medium
def test_the_reason_travels(pairs, monkeypatch):
    def missing(key, device):
        raise UnavailableError("net.pth is not here: ssdd-bench weights fetch net")

    keys = ["fd_effnet", "psnr"]
    states = in_chunks(keys, pairs(), [(0, 8)])
    monkeypatch.setattr(features, "make_extractor", missing)
    states += in_chunks(keys, pairs(), [(8, 16)])
    assert [list(state.unavailable) for state in states] == [[], ["fd_effnet"]]
    values = merged(keys, states).values
    assert "weights fetch net" in values["fd_effnet"].unavailable
    assert values["psnr"].n == 16


@pytest.mark.medium
@pytest.mark.parametrize("key", ["psnr", "fd_effnet"])
def test_a_metric_that_some_chunk_was_not_asked_for(key, pairs):
    images = pairs()
    states = in_chunks(["mse", key], images, [(0, 8)]) + in_chunks(["mse"], images, [(8, 16)])
    values = merged(["mse", key], states).values
    assert "not in every chunk" in values[key].unavailable
    assert values["mse"].n == 16


class Ratio(PairMetric):
    """Ratio of sums, with a state of each kind."""

    backend = "mine 1"

    def __init__(self, info, device, options):
        super().__init__(info, device, options)
        self.add_state("sums", np.zeros(2), "sum")
        self.add_state("n", 0, "sum")
        self.add_state("largest", {}, "by_image")

    def update(self, ids, references, reconstructions):
        self.sums += [references.double().sum().item(), reconstructions.double().sum().item()]
        self.n += len(ids)
        if ids[0] != "0000":  # a state may leave images out
            self.largest[ids[0]] = reconstructions[0].max().item()

    def compute(self):
        return MetricValue(self.sums[1] / self.sums[0], self.n, True, self.backend)


@pytest.fixture
def brought(monkeypatch):
    """A metric that a package brings."""
    code = ModuleType("mine.code")
    code.Ratio = Ratio
    info = MetricInfo(
        key="ratio",
        package="mine",
        source="package mine",
        title="",
        higher_is_better=True,
        metric="code:Ratio",
    )
    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    monkeypatch.setitem(sys.modules, "mine.code", code)
    monkeypatch.setattr(module, "find_metrics", lambda kind: find_metrics(kind) | {"ratio": info})


def test_a_metric_of_others_merges(brought, pairs, tmp_path):
    images = pairs()
    found = merged(["ratio"], in_chunks(["ratio"], images, order=(1, 2, 0), folder=tmp_path))
    value = found.values["ratio"]
    assert value.value == images[2].double().sum().item() / images[1].double().sum().item()
    assert (value.n, value.backend) == (22, "mine 1")


@pytest.mark.slow
def test_many_large_chunks_merge_in_time():
    dims, chunks, n = 2048, 64, 781
    rng = np.random.default_rng(0)
    arrays = {}
    for side in ("reference", "candidate"):
        moments = Moments(dims, keep_few=False)
        moments.update(rng.normal(size=(2500, dims)))
        scale = n / moments.n
        arrays |= {
            f"features/inception/pool/{side}/n": np.array(n),
            f"features/inception/pool/{side}/sum": moments.sum * scale,
            f"features/inception/pool/{side}/products": moments.products * scale,
        }
    facts = {"kind": "pairs", "metrics": {}, "networks": {"inception": "some"}}
    with MetricSuite(["rfid"], CPU, only_merges=True, expected=n * chunks) as suite:
        started = time.perf_counter()
        for chunk in range(chunks):
            ids = {"candidate": [f"{chunk}-{image}" for image in range(n)]}
            suite.merge(SuiteState(arrays, {**facts, "ids": ids}))
        took = time.perf_counter() - started
        value = suite.compute().values["rfid"]
    assert took < 20
    assert value.n == n * chunks
    assert value.value > 0
