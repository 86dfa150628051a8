"""Pieces of files on a disk and behind a URL, and what their errors are called."""

import errno
import os
from pathlib import Path

import fsspec
import pytest

from ssdd_bench.data.files import (
    LocalFile,
    RemoteFile,
    describe,
    file_system,
    is_failure,
    is_hub,
)
from ssdd_bench.errors import DataError, SourceError


@pytest.fixture
def remote():
    system = fsspec.filesystem("memory")
    system.pipe("/files/x.tar", b"0123456789")
    yield RemoteFile("memory://files/x.tar", 10, "s")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def local(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"0123456789")
    return LocalFile.find(tmp_path / "x.tar")


def test_a_file_is_known_by_its_size_and_time(tmp_path, local, monkeypatch):
    path = tmp_path / "x.tar"
    expected = LocalFile(str(path), 10, str(path.stat().st_mtime_ns))
    monkeypatch.chdir(tmp_path)
    assert local == expected == LocalFile.find(path.relative_to(tmp_path))
    for wrong in (tmp_path, tmp_path / "absent", tmp_path / "a\0b"):
        with pytest.raises(DataError):
            LocalFile.find(wrong)


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_pieces_of_a_file(kind, request):
    file = request.getfixturevalue(kind)
    assert (file.read(0, 10), file.read(3, 4), file.read(9, 1)) == (b"0123456789", b"3456", b"9")
    assert file.fetch(8, 20) == b"89"
    with pytest.raises(SourceError, match=r"x\.tar"):
        file.read(8, 3)
    with file.open() as stream:
        assert stream.read(2) + stream.read() == b"0123456789"


def test_a_remote_file_is_sought_like_any_other(remote):
    stream = remote.unbuffered()
    assert stream.readable()
    assert stream.seekable()
    assert (stream.tell(), stream.seek(4), stream.read(3), stream.tell()) == (0, 4, b"456", 7)
    assert (stream.seek(-2, os.SEEK_CUR), stream.read(1)) == (5, b"5")
    assert (stream.seek(-1, os.SEEK_END), stream.read(9), stream.read(9)) == (9, b"9", b"")
    assert (stream.seek(-5), stream.read(1)) == (0, b"0")
    assert (stream.seek(30), stream.tell(), stream.read(1)) == (30, 30, b"")
    buffer = bytearray(b"....")
    assert (stream.seek(8), stream.readinto(buffer), bytes(buffer)) == (8, 2, b"89..")


def test_what_reads_ahead_reads_pieces_of_a_megabyte(monkeypatch):
    asked = []

    def fetch(self, start, end):
        asked.append((start, end))
        return bytes(end - start)

    monkeypatch.setattr(RemoteFile, "fetch", fetch)
    with RemoteFile("memory://x", 3 << 20, "").open() as stream:
        stream.read(1)
        stream.read(1)
    assert asked == [(0, 1 << 20)]


class System:
    """A file system that says what it was asked for."""

    async_impl = True
    protocol = ("hf", "other")

    def unstrip_protocol(self, name: str) -> str:
        return f"test://{name}"


@pytest.mark.parametrize(
    ("entry", "stamp"),
    [
        ({}, ""),
        ({"mtime": 0, "created": 5}, "5"),
        ({"md5": "m", "etag": "e", "blob_id": "b"}, "b"),
        *(
            ({key: "v"}, "v")
            for key in ("etag", "ETag", "checksum", "md5", "mtime", "LastModified", "created")
        ),
        ({"name of another": "v"}, ""),
    ],
)
def test_a_remote_file_is_known_by_whatever_its_listing_says(entry, stamp):
    found = RemoteFile.of(System(), {"name": "a/b.tar", "size": 7, **entry})
    assert found == RemoteFile("test://a/b.tar", 7, stamp)
    for without in ({}, {"size": None}):
        with pytest.raises(DataError, match=r"test://a/b\.tar"):
            RemoteFile.of(System(), {"name": "a/b.tar", **without})


def test_systems_by_url(remote, monkeypatch, tmp_path):
    system, path = file_system("memory://files/x.tar")
    assert (system.protocol, path) == ("memory", "/files/x.tar")
    assert not is_hub(system)
    assert is_hub(System())
    with pytest.raises(DataError, match="abc://x"):
        file_system("abc://x")
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    for url in ("memory://files", f"file://{tmp_path}", f"local://{tmp_path}"):
        assert file_system(url)[0]
    with pytest.raises(DataError, match="http://127"):
        file_system("http://127.0.0.1:1/x")


def test_no_more_is_fetched_than_was_asked_for(remote, monkeypatch):
    calls = []
    system, _ = file_system(remote.url)

    def cat_file(path, start, end, **more):
        calls.append((path, start, end, more))
        return b""

    monkeypatch.setattr(type(system), "cat_file", staticmethod(cat_file))
    remote.fetch(2, 99)
    monkeypatch.setattr(type(system), "async_impl", True)
    remote.fetch(2, 3)
    assert calls == [
        ("/files/x.tar", 2, 10, {"cache_type": "none"}),
        ("/files/x.tar", 2, 3, {}),
    ]


def test_errors_while_reading_are_those_of_the_source(remote, local, monkeypatch):
    fsspec.filesystem("memory").store.clear()
    with pytest.raises(SourceError, match=r"x\.tar"):
        remote.fetch(0, 1)
    with pytest.raises(SourceError, match=r"x\.tar"):
        local.fetch(-5, 1)
    Path(local.url).unlink()
    with pytest.raises(SourceError, match=r"x\.tar"):
        local.open()


@pytest.mark.parametrize(
    ("error", "failure", "text"),
    [
        (OSError(errno.EIO, "Input/output error"), True, "Input/output error"),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), True, "timed out"),
        (OSError(errno.EINVAL, "Invalid"), False, "Invalid"),
        (FileNotFoundError(errno.ENOENT, "No such"), False, "no such file or folder"),
        (ValueError("one\ntwo"), False, "one"),
        (ValueError("  \n one "), False, "one"),
        (ValueError(), False, "ValueError"),
        (
            type("GatedRepoError", (Exception,), {})("x"),
            False,
            "accept its licence there and log in",
        ),
        (type("EntryNotFoundError", (FileNotFoundError,), {})("x"), False, "no such file"),
    ],
)
def test_errors_in_one_line(error, failure, text):
    assert is_failure(error) is failure
    assert describe(error) == text


def test_the_cause_of_an_error_may_say_more():
    error = ValueError("long and technical")
    error.__cause__ = type("RevisionNotFoundError", (Exception,), {})()
    assert describe(error) == "no such revision"
