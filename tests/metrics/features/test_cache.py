"""Features of originals are computed once, and cached runs give the same bits."""

import hashlib
import os

import numpy as np
import PIL
import pytest
import torch

from ssdd_bench import __version__
from ssdd_bench.errors import OutputError
from ssdd_bench.metrics.features import base as features
from ssdd_bench.metrics.features import cache as reference_cache
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.metrics.features.cache import ReferenceCache, pixel_hashes, prune
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import NUMBERS_VERSION

CPU = torch.device("cpu")


class Sums(Extractor):
    """Few features, many calls counted."""

    layers = {"a": 3, "b": 1}  # noqa: RUF012
    backend = "sums 1"

    def __init__(self):
        self.calls = []

    def __call__(self, images):
        self.calls.append(images.sum().item())
        means = images.float().mean(dim=(2, 3)).numpy()
        return {"a": means, "b": means[:, :1]}


@pytest.fixture
def extractor(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSDD_BENCH_NO_CACHE", raising=False)
    made = Sums()
    monkeypatch.setattr(features, "make_extractor", lambda key, device: made)
    return made


def entries(tmp_path):
    return sorted(tmp_path.glob("ssdd-bench/features/*/*.npz"))


def run(a, b):
    pool = features.FeaturePool(CPU)
    pool.want("x", "a", rows=True)
    pool.load("x")
    pool.add("reference", a)
    pool.add("candidate", b)
    return [pool.store("x", "a", side).rows().copy() for side in ("reference", "candidate")]


def test_second_pass_computes_reconstructions_only(extractor, tmp_path, photo_like, noisy):
    a = photo_like(4)
    first = run(a, noisy(a, 5))
    assert len(extractor.calls) == 2
    second = run(a, noisy(a, 9))
    assert len(extractor.calls) == 3
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])
    assert len(entries(tmp_path)) == 1
    run(noisy(a, 1), a)  # other originals
    assert len(extractor.calls) == 5


def flip_a_value(data):
    """Only the checksum of the archive can tell."""
    place = data.index(b"\n", data.index(b"NUMPY")) + 1  # after the header of an array
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "other": lambda data: b"not an npz" * 100,
    "flipped": flip_a_value,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_computed_again(extractor, tmp_path, photo_like, damage):
    a = photo_like(4)
    first = run(a, a)
    (path,) = entries(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    second = run(a, a)
    np.testing.assert_array_equal(first[0], second[0])
    assert len(extractor.calls) == 4


def test_a_folder_that_cannot_be_written(extractor, tmp_path, photo_like, monkeypatch):
    a, blocked = photo_like(2), tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    run(a, a)
    assert len(extractor.calls) == 2


def test_an_entry_that_cannot_be_touched_is_used(extractor, photo_like, monkeypatch):
    def refuse(path):
        raise PermissionError

    a = photo_like(2)
    run(a, a)
    monkeypatch.setattr(os, "utime", refuse)
    run(a, a)
    assert len(extractor.calls) == 3


def test_what_was_not_used_for_longest_goes_first(extractor, tmp_path, photo_like):
    cache = ReferenceCache("sums 1", Sums.layers, CPU)
    groups = [photo_like(2, seed=seed) for seed in range(3)]
    for age, group in enumerate(groups):
        cache.write(pixel_hashes(group), extractor(group))
        os.utime(cache._path(pixel_hashes(group)), (1000 + age, 1000 + age))
    assert cache.read(pixel_hashes(groups[0])) is not None  # used, and so the youngest
    size = entries(tmp_path)[0].stat().st_size
    reference_cache.prune(3 * size)
    assert len(entries(tmp_path)) == 3
    reference_cache.prune(2 * size)
    assert [cache.read(pixel_hashes(group)) is not None for group in groups] == [True, False, True]


def test_the_hash_tells_pixels_and_sizes_apart(photo_like):
    a = photo_like(2)
    assert len(set(pixel_hashes(a))) == 2
    assert pixel_hashes(a[1:]) == pixel_hashes(a)[1:]
    assert pixel_hashes(a.reshape(2, 3, 32, 128)) != pixel_hashes(a)
    assert pixel_hashes(a.to(memory_format=torch.channels_last)) == pixel_hashes(a)


def test_names_of_entries_and_what_they_hold(extractor, tmp_path, photo_like, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX9")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    a = photo_like(2)
    found = extractor(a)
    ReferenceCache("sums 1", Sums.layers, CPU).write(pixel_hashes(a), found)
    (path,) = entries(tmp_path)
    versions = [torch.__version__, PIL.__version__, NUMBERS_VERSION, __version__]
    name = fingerprint(["sums 1", {"a": 3, "b": 1}, versions, ["cpu", "AVX9", 77]])
    assert path.parent.name == name[:16]
    both = b"".join(pixel_hashes(a))
    assert path.stem == hashlib.blake2b(both, digest_size=16).hexdigest()
    with np.load(path) as arrays:
        assert set(arrays.files) == {"a", "b"}
    again = ReferenceCache("sums 1", Sums.layers, CPU).read(pixel_hashes(a))
    assert list(again) == ["a", "b"]
    for layer, rows in found.items():
        np.testing.assert_array_equal(again[layer], rows)
        assert again[layer].dtype == np.float32


def test_hashes_are_keyed_by_the_size(photo_like):
    a = photo_like(2, side=8)
    keyed = [
        hashlib.blake2b(one.numpy().tobytes(), digest_size=16, key=b"(3, 8, 8)").digest()
        for one in a
    ]
    assert list(pixel_hashes(a)) == keyed


def test_hardware_decides_by_its_kind(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda one: asked.append(one) or "some GPU")
    gpu = torch.device("cuda", 1)
    assert reference_cache._arithmetic(gpu) == ["some GPU"]
    assert asked == [gpu]
    assert reference_cache._arithmetic(torch.device("meta")) == ["meta"]


@pytest.mark.parametrize(
    "arrays", [{"a": np.array([{}])}, {"a": np.array([{}]), "b": np.zeros(1)}, {"b": np.zeros(1)}]
)
def test_an_entry_with_objects_or_without_a_layer_is_unknown(extractor, arrays):
    cache = ReferenceCache("sums 1", Sums.layers, CPU)
    path = cache._path([b"x"])
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)
    assert cache.read([b"x"]) is None


def test_objects_are_not_written(extractor, tmp_path):
    cache = ReferenceCache("sums 1", Sums.layers, CPU)
    with pytest.raises(ValueError, match="allow_pickle"):
        cache.write([b"x"], {"a": np.array([{}]), "b": np.zeros(1)})
    assert not entries(tmp_path)


def test_nothing_is_read_or_pruned_where_the_cache_is_off(extractor, tmp_path, monkeypatch):
    ReferenceCache("sums 1", Sums.layers, CPU).write([b"x"], {"a": np.ones(3), "b": np.ones(1)})
    monkeypatch.setenv("SSDD_BENCH_NO_CACHE", "1")
    assert ReferenceCache("sums 1", Sums.layers, CPU).read([b"x"]) is None
    prune(0)
    assert len(entries(tmp_path)) == 1
    monkeypatch.delenv("SSDD_BENCH_NO_CACHE")
    assert ReferenceCache("sums 1", Sums.layers, CPU).read([b"x"]) is not None
    prune(0)
    assert not entries(tmp_path)


def test_a_folder_that_cannot_be_written_is_tried_once(extractor, monkeypatch):
    tried = []

    def refuse(path, write):
        tried.append(path)
        raise OutputError("read-only")

    monkeypatch.setattr(reference_cache, "write_atomically", refuse)
    cache = ReferenceCache("sums 1", Sums.layers, CPU)
    for _ in range(2):
        cache.write([b"x"], {"a": np.ones(3), "b": np.ones(1)})
    assert tried == [cache._path([b"x"])]
    assert cache.read([b"x"]) is None


def test_what_cannot_be_deleted_is_passed_over(extractor, tmp_path):
    folder = tmp_path / "ssdd-bench" / "features" / "network"
    (folder / "0").mkdir(parents=True)
    (folder / "gone").symlink_to(folder / "nowhere")
    for age, name in enumerate("1234"):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (2000 + age, 2000 + age))
    os.utime(folder / "0", (1000, 1000))
    size = (folder / "0").stat().st_size
    for limit, left in ((size + 400, "1234"), (size + 399, "234"), (size + 100, "4")):
        prune(limit)
        assert {one.name for one in folder.iterdir()} == {"0", "gone", *left}
