"""Networks of features: which of them compute, what is kept, and how parts are merged."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from ssdd_bench.errors import OutputError, UnavailableError, UnknownNameError
from ssdd_bench.metrics.base import mixed
from ssdd_bench.metrics.features import base as module
from ssdd_bench.metrics.features.base import EXTRACTORS, Extractor, FeaturePool, make_extractor
from ssdd_bench.metrics.features.cache import ReferenceCache, pixel_hashes

CPU = torch.device("cpu")


class Means(Extractor):
    """Means and largest values of channels; an error instead, if there is one."""

    layers = {"mean": 3, "max": 3, "first": 1}  # noqa: RUF012

    def __init__(self, backend):
        self.backend = backend
        self.calls = 0
        self.error = None

    def __call__(self, images):
        self.calls += 1
        if self.error:
            raise self.error
        pixels = images.numpy().astype(np.float32)
        means = pixels.mean(axis=(2, 3))
        return {"mean": means, "max": pixels.max(axis=(2, 3)), "first": means[:, :1]}


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Networks by key, and the arguments that they are made with."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSDD_BENCH_NO_CACHE", raising=False)
    networks, calls = {key: Means(f"{key} 1") for key in ("one", "two")}, []
    monkeypatch.setattr(module, "make_extractor", lambda *a: calls.append(a) or networks[a[0]])
    return networks, calls


def pool_of(*outputs, networks=("one",), **more):
    pool = FeaturePool(CPU, **more)
    for network, layer, *rows in outputs:
        pool.want(network, layer, *rows)
    for network in networks:
        pool.load(network)
    return pool


def test_a_network_is_made_by_its_key(monkeypatch):
    mine = ModuleType("mine")
    mine.Mine = lambda device: ("made", device)
    monkeypatch.setitem(sys.modules, "ssdd_bench.metrics.features.mine", mine)
    monkeypatch.setitem(EXTRACTORS, "own", "mine:Mine")
    device = torch.device("meta")
    assert make_extractor("own", device) == ("made", device)
    with pytest.raises(UnknownNameError) as caught:
        make_extractor("effnot", CPU)
    assert str(caught.value) == str(UnknownNameError("feature extractor", "effnot", EXTRACTORS))
    assert "did you mean effnet" in str(caught.value)


def test_a_network_is_loaded_once(made):
    _, calls = made
    pool = pool_of(networks=("one", "one", "two"))
    assert calls == [("one", CPU), ("two", CPU)]
    assert pool.backends == {"one": "one 1", "two": "two 1"}
    assert pool.failed == {}


def test_wanted_outputs_alone_are_kept(made, photo_like):
    pool = pool_of(("one", "mean", True), ("one", "mean"), ("one", "first"), ("two", "max"))
    a, b = photo_like(5, side=8), photo_like(4, side=8, seed=1)
    pool.add("reference", a)
    pool.add("candidate", b)
    arrays, backends = pool.state()
    assert backends == {"one": "one 1"}
    assert list(arrays) == [
        *(f"one/mean/reference/{name}" for name in ("n", "sum", "products", "rows")),
        *(f"one/first/reference/{name}" for name in ("n", "sum", "products")),
        *(f"one/mean/candidate/{name}" for name in ("n", "sum", "products", "rows")),
        *(f"one/first/candidate/{name}" for name in ("n", "sum", "products")),
    ]
    np.testing.assert_array_equal(arrays["one/mean/reference/rows"], Means("")(a)["mean"])
    np.testing.assert_array_equal(
        pool.store("one", "mean", "candidate").rows(), Means("")(b)["mean"]
    )
    assert pool.store("one", "first", "reference").n == 5
    with pytest.raises(UnavailableError, match="needs_rows"):
        pool.store("one", "first", "reference").rows()


def test_rows_that_were_wanted_once_are_kept(made, photo_like):
    pool = pool_of(("one", "mean"), ("one", "mean", True), ("one", "max"))
    pool.add("candidate", photo_like(2, side=8))
    assert pool.store("one", "mean", "candidate").rows().shape == (2, 3)
    with pytest.raises(UnavailableError, match="needs_rows"):
        pool.store("one", "max", "candidate").rows()


@pytest.mark.parametrize(("expected", "few"), [(None, True), (3, True), (2, True), (4, False)])
def test_vectors_stand_for_themselves_where_there_may_be_few(made, photo_like, expected, few):
    pool = pool_of(("one", "mean"), expected=expected)
    pool.add("candidate", photo_like(2, side=8))
    names = ["rows"] if few else ["n", "sum", "products"]
    assert list(pool.state()[0]) == [f"one/mean/candidate/{name}" for name in names]


def test_a_side_without_images_is_empty_and_a_network_that_is_absent_is_named(made):
    pool = pool_of(("one", "mean", True), ("two", "mean"))
    assert pool.store("one", "mean", "reference").rows().shape == (0, 3)
    with pytest.raises(UnavailableError, match="no features of two were computed"):
        pool.store("two", "mean", "reference")


def test_merged_features_need_no_network(made, photo_like):
    a = photo_like(2, side=8)
    pool = pool_of(("one", "mean", True), ("one", "first", True))
    pool.add("candidate", a)
    other = pool_of(("one", "mean", True), networks=())
    other.merge(*pool.state())
    np.testing.assert_array_equal(
        other.store("one", "mean", "candidate").rows(), Means("")(a)["mean"]
    )
    assert other.store("one", "mean", "reference").dims == 3
    for network, layer in (("one", "first"), ("two", "mean")):
        with pytest.raises(UnavailableError, match=f"no features of {network}"):
            other.store(network, layer, "candidate")


def test_parts_are_merged_in_order(made, photo_like):
    images = photo_like(9, side=8)
    total = pool_of(("one", "mean", True), ("one", "max"), networks=())
    for start, stop in ((0, 5), (5, 7), (7, 9)):
        part = pool_of(("one", "mean", True), ("one", "max"), ("one", "first"))
        part.add("reference", images[start:stop])
        total.merge(*part.state())
    rows = Means("")(images)
    np.testing.assert_array_equal(total.store("one", "mean", "reference").rows(), rows["mean"])
    largest = total.store("one", "max", "reference")
    assert (largest.n, largest.dims) == (9, 3)
    np.testing.assert_allclose(largest.moments().mean, rows["max"].mean(axis=0))
    assert total.backends == {"one": "one 1"}
    assert total.failed == {}
    arrays, _ = total.state()
    assert {key.rsplit("/", 1)[0] for key in arrays} == {"one/mean/reference", "one/max/reference"}


def test_parts_by_two_versions_do_not_merge(made, photo_like):
    networks, _ = made
    states = []
    for backend in ("one 1", "one 2", "one 3"):
        networks["one"].backend = backend
        part = pool_of(("one", "mean", True))
        part.add("candidate", photo_like(2, side=8))
        states.append(part.state())
    total = pool_of(("one", "mean", True), ("two", "mean"), networks=("two",))
    total.add("candidate", photo_like(2, side=8))
    for state in states:
        total.merge(*state)
    assert total.failed == {"one": mixed("one", "one 1", "one 2")}
    assert total.backends == {"one": "one 1", "two": "two 1"}
    arrays, backends = total.state()
    assert (list(arrays), backends) == (["two/mean/candidate/rows"], {"two": "two 1"})
    total.reset()
    assert total.failed == {}
    assert total.state() == ({}, {})


def test_a_network_that_fails_computes_no_more(made, photo_like):
    networks, _ = made
    a = photo_like(2, side=8)
    pool = pool_of(("one", "mean"), ("two", "mean"), networks=("one", "two"))
    pool.add("candidate", a)
    networks["one"].error = ValueError("odd image")
    pool.add("candidate", a)
    networks["one"].error = None
    pool.add("candidate", a)
    assert pool.failed == {"one": "one failed: ValueError: odd image"}
    assert (networks["one"].calls, networks["two"].calls) == (2, 3)
    arrays, backends = pool.state()
    assert backends == {"two": "two 1"}
    assert {key.split("/")[0] for key in arrays} == {"two"}


def test_errors_that_end_the_run(made, photo_like):
    networks, _ = made
    a = photo_like(2, side=8)
    networks["one"].error = OutputError("the disk is full")
    pool = pool_of(("one", "mean"))
    with pytest.raises(OutputError, match="the disk is full"):
        pool.add("candidate", a)
    networks["one"].error = ValueError("odd image")
    with pytest.raises(ValueError, match="odd image"):
        pool_of(("one", "mean"), strict=True).add("candidate", a)
    assert pool.failed == {}


def test_references_come_from_the_cache(made, photo_like, monkeypatch):
    networks, _ = made
    a = photo_like(2, side=8)
    pool = pool_of(("one", "mean", True))
    assert pool.uses_hashes is True
    assert FeaturePool(CPU).uses_hashes is False
    hashes = pixel_hashes(a)
    with monkeypatch.context() as patch:
        patch.setattr(module, "pixel_hashes", lambda images: pytest.fail("was hashed again"))
        for side in ("reference", "candidate", "candidate"):
            pool.add(side, a, hashes)
    assert networks["one"].calls == 3  # candidates are computed
    kept = ReferenceCache("one 1", Means.layers, CPU).read(pixel_hashes(a))
    assert list(kept) == ["mean", "max", "first"]
    pool.add("reference", a)
    assert networks["one"].calls == 3
    np.testing.assert_array_equal(
        pool.store("one", "mean", "reference").rows(), np.concatenate([kept["mean"]] * 2)
    )
    monkeypatch.setenv("SSDD_BENCH_NO_CACHE", "1")
    assert pool.uses_hashes is False
    monkeypatch.setattr(module, "pixel_hashes", lambda images: pytest.fail("was hashed"))
    pool_of(("one", "mean")).add("reference", a)
    assert networks["one"].calls == 4
