"""Files fetched from a server on this machine, and archives unpacked."""

import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from ssdd_bench.errors import OutputError, UnavailableError, WeightsError
from ssdd_bench.weights import download as module
from ssdd_bench.weights.assets import cached_path, require
from ssdd_bench.weights.download import fetch, unpack


def visible(folder):
    """Return the files of a folder but for hidden ones, such as locks."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def test_fetch(asset, content, server, tmp_path):
    steps = []
    path = fetch("net", lambda done, total: steps.append((done, total)))
    assert path == tmp_path / "cache/ssdd-bench/weights/net.pth"
    assert path.read_bytes() == content
    assert steps[-1] == (len(content), len(content))
    assert require("net") == path
    assert fetch("net") == path
    assert len(server.requests) == 1
    assert visible(path.parent) == [path]


def test_a_broken_download_is_resumed(asset, content, server):
    server.break_after = 300_000
    assert fetch("net").read_bytes() == content
    assert server.requests == ["bytes=0-", "bytes=300000-"]


def test_a_server_without_ranges_starts_again(asset, content, server):
    server.break_after, server.ranges = 300_000, False
    assert fetch("net").read_bytes() == content


def test_a_part_longer_than_the_file(asset, content, tmp_path):
    part = tmp_path / "cache/ssdd-bench/weights/net.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content + b"more")
    with pytest.raises(WeightsError):
        fetch("net")
    assert fetch("net").read_bytes() == content


def test_an_interrupted_download_is_resumed(asset, content, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("net", stop)
    assert cached_path("net") is None
    (part,) = visible(tmp_path / "cache/ssdd-bench/weights")
    assert part.name == "net.pth.part"
    assert part.stat().st_size == 1000
    assert fetch("net").read_bytes() == content
    assert server.requests == ["bytes=0-", "bytes=1000-"]


def test_a_disk_too_small_is_said_before_the_download(asset, server):
    asset(bytes=1 << 60)
    with pytest.raises(OutputError, match=r"room for \d+ MB.*XDG_CACHE_HOME"):
        fetch("net")
    assert not server.requests


def test_another_file_is_not_kept(asset, tmp_path):
    asset(sha256="0" * 64)
    with pytest.raises(WeightsError, match="expected 000000000000"):
        fetch("net")
    assert cached_path("net") is None
    assert not visible(tmp_path / "cache/ssdd-bench/weights")


@pytest.mark.medium
def test_two_at_a_time_download_once(asset, content, server, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 300_000)
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        others = []

        def begin_another(done, total):
            if done and not others:
                others.append(pool.submit(fetch, "net", waiting=lambda: said.append("waits")))
                wait(others, 0.3)

        path = fetch("net", begin_another, lambda: said.append("waits without need"))
        assert others[0].result() == path
    assert said == ["waits"]
    assert path.read_bytes() == content
    assert server.requests == ["bytes=0-"]
    assert visible(path.parent) == [path]


def test_missing_on_the_server(asset, server):
    asset(url=f"http://127.0.0.1:{server.server_port}/gone.pth")
    with pytest.raises(UnavailableError, match=r"HTTP 404.*SSDD_BENCH_WEIGHTS"):
        fetch("net")
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_server_that_never_answers(asset, server, monkeypatch):
    server.silent = True
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError, match="timed out"):
        fetch("net")
    assert len(server.requests) == module.ATTEMPTS


def test_a_body_that_is_too_long_is_not_read(asset, server, tmp_path, monkeypatch):
    server.extra = 1 << 20
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(UnavailableError, match="more than 1048576 bytes"):
        fetch("net")
    part = tmp_path / "cache/ssdd-bench/weights/net.pth.part"
    assert part.stat().st_size <= 1 << 20


def test_a_folder_that_cannot_be_written(asset, server, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="XDG_CACHE_HOME"):
        fetch("net")
    assert not server.requests


def test_a_file_without_a_checksum_is_not_fetched(asset, server):
    asset(sha256="")
    with pytest.raises(UnavailableError, match="No checksum"):
        fetch("net")
    assert not server.requests


def test_offline_and_require_touch_no_network(asset, monkeypatch):
    def refuse(*args):
        pytest.fail("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="SSDD_BENCH_OFFLINE"):
        fetch("net")
    with pytest.raises(UnavailableError, match="ssdd-bench weights fetch net"):
        require("net")


def test_unpack_takes_only_what_was_named(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("net.pth", "lora/a.json", "lora/b.bin", "evil.sh"):
            made.writestr(name, name)
    folder = tmp_path / "out"
    unpack(archive, ["net.pth", "lora/"], folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"net.pth", "lora/a.json", "lora/b.bin"}
    archive.unlink()
    unpack(archive, ["net.pth", "lora/"], folder)  # which is there


def test_unpack_gives_all_or_nothing(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("net.pth", "x")
    with pytest.raises(WeightsError, match="no 'other'"):
        unpack(archive, ["net.pth", "other"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("evil", ["lora/../../net.pth", "lora/../net.pth", "lora/..\\net.pth"])
def test_unpack_stays_in_its_folder(tmp_path, evil):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(evil, "x")
    unpack(archive, ["lora/"], tmp_path / "a" / "b" / "out")
    assert [path.parts[len(tmp_path.parts) :][:3] for path in tmp_path.rglob("*net.pth")] == [
        ("a", "b", "out")
    ]


def test_a_damaged_archive(content, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("net.pth", content)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:60] + bytes(8) + whole[68:])
    with pytest.raises(WeightsError, match="damaged"):
        unpack(archive, ["net.pth"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]
