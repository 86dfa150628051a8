"""Indexes of large files in our cache."""

import os

import numpy as np
import pytest

from ssdd_bench.data.files import LocalFile, RemoteFile
from ssdd_bench.data.index import Index, cached_index
from ssdd_bench.weights.assets import cache_folder

NAMES = ("a/1.png", "ünïcode.png", os.fsdecode(b"\xff.png"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SSDD_BENCH_NO_CACHE", raising=False)
    return cache_folder() / "indexes"


class Builder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, file):
        assert file.size >= 0  # it is the file
        self.calls += 1
        return Index(NAMES, {"start": np.array([1, 2, 2**60]), "none": np.zeros(0, np.int64)})


def look(path, build, kind="test"):
    index = cached_index(LocalFile.find(path), kind, build)
    assert index.texts == NAMES
    assert index.numbers["start"].tolist() == [1, 2, 2**60]
    assert len(index.numbers["none"]) == 0
    return build.calls


def test_an_index_is_made_once(tmp_path, cache):
    path, build = tmp_path / "x.tar", Builder()
    path.write_bytes(b"1")
    assert [look(path, build) for _ in range(3)] == [1, 1, 1]
    assert len(list(cache.iterdir())) == 1


def test_another_file_or_kind_has_its_own(tmp_path, cache):
    path, build = tmp_path / "x.tar", Builder()
    path.write_bytes(b"1")
    look(path, build)
    assert look(path, build, "test 2") == 2
    path.write_bytes(b"22")
    assert look(path, build, "test 2") == 3
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert look(path, build, "test 2") == 4
    path.write_bytes(b"333")  # of another size at the same time
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert look(path, build, "test 2") == 5
    (tmp_path / "y.tar").write_bytes(b"22")
    assert look(tmp_path / "y.tar", build, "test 2") == 6
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("where", [0, 40, 0.5, -1])
def test_a_damaged_index_is_made_again(tmp_path, cache, where):
    path, build = tmp_path / "x.tar", Builder()
    path.write_bytes(b"1")
    look(path, build)
    (entry,) = cache.iterdir()
    data = bytearray(entry.read_bytes())
    data[int(where * len(data)) if where == 0.5 else where] ^= 1
    entry.write_bytes(data)
    assert look(path, build) == 2
    entry.write_bytes(data[: len(data) // 2])
    assert look(path, build) == 3
    assert look(path, build) == 3


def test_a_file_that_may_change_unnoticed_has_none(cache):
    build = Builder()
    for _ in range(2):
        cached_index(RemoteFile("https://example.org/x.tar", 1, ""), "test", build)
    assert build.calls == 2


def test_without_a_cache_it_is_made_each_time(tmp_path, cache, monkeypatch):
    path, build = tmp_path / "x.tar", Builder()
    path.write_bytes(b"1")
    monkeypatch.setenv("SSDD_BENCH_NO_CACHE", "1")
    assert [look(path, build) for _ in range(2)] == [1, 2]
    assert not cache.exists()
    monkeypatch.delenv("SSDD_BENCH_NO_CACHE")
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert [look(path, build) for _ in range(2)] == [3, 4]
