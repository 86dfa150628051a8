"""Files looked for, verified and fetched from a server on this machine."""

import hashlib
import http.server
import socket
import threading
import zipfile

import pytest
from click.testing import CliRunner

from ssdd_bench.cli.weights import command
from ssdd_bench.errors import OutputError, UnavailableError, WeightsError
from ssdd_bench.weights import assets as table
from ssdd_bench.weights import cache as locate
from ssdd_bench.weights import download as module
from ssdd_bench.weights.assets import Asset
from ssdd_bench.weights.cache import find, require
from ssdd_bench.weights.download import fetch, unpack

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; may break off, ignore ranges, or never answer."""

    break_after: int | None = None
    ranges = True
    silent = False
    daemon_threads = True

    def __init__(self):
        self.requests: list[str | None] = []
        self.stopped = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if server.silent:
            server.stopped.wait(10)
            return
        if self.path != "/net.pth":
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and server.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT)
        if server.break_after is not None:
            end, server.break_after = start + server.break_after, None
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.stopped.set()
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("SSDD_BENCH_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)


@pytest.fixture
def asset(server, monkeypatch):
    """A function that puts one asset into the table."""

    def put(**changes):
        values = {
            "file": "net.pth",
            "url": f"http://127.0.0.1:{server.server_port}/net.pth",
            "bytes": len(CONTENT),
            "sha256": SHA256,
            "licence": "MIT",
        }
        found = {"net": Asset(**values | changes)}
        monkeypatch.setattr(table, "assets", lambda: found)

    put()
    return put


def test_fetch(asset, server, tmp_path):
    steps = []
    path = fetch("net", lambda done, total: steps.append((done, total)))
    assert path == tmp_path / "cache/ssdd-bench/weights/net.pth"
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert require("net") == path
    assert fetch("net") == path
    assert len(server.requests) == 1
    assert [file.name for file in path.parent.iterdir()] == ["net.pth"]


def test_a_download_that_breaks_off_goes_on(asset, server):
    server.break_after = 300_000
    assert fetch("net").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-"]


def test_a_server_without_ranges_starts_again(asset, server):
    server.break_after, server.ranges = 300_000, False
    assert fetch("net").read_bytes() == CONTENT


def test_a_part_longer_than_the_file(asset, tmp_path):
    part = tmp_path / "cache/ssdd-bench/weights/net.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    with pytest.raises((WeightsError, UnavailableError)):
        fetch("net")
    assert fetch("net").read_bytes() == CONTENT


def test_an_interrupted_download_leaves_its_part_alone(asset, tmp_path):
    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("net", stop)
    assert find("net") is None
    (part,) = (tmp_path / "cache/ssdd-bench/weights").iterdir()
    assert part.name == "net.pth.part"
    assert fetch("net").read_bytes() == CONTENT


def test_a_disk_too_small_is_said_before_the_download(asset, server):
    asset(bytes=1 << 60)
    with pytest.raises(OutputError, match=r"room for \d+ MB: .*XDG_CACHE_HOME"):
        fetch("net")
    assert not server.requests


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"bytes": 5}])
def test_another_file_is_not_kept(asset, tmp_path, wrong):
    asset(**wrong)
    with pytest.raises(WeightsError):
        fetch("net")
    assert find("net") is None
    assert not list((tmp_path / "cache/ssdd-bench/weights").iterdir())


def test_missing_on_the_server(asset, server):
    asset(url=f"http://127.0.0.1:{server.server_port}/gone.pth")
    with pytest.raises(UnavailableError, match=r"HTTP 404.*SSDD_BENCH_WEIGHTS"):
        fetch("net")
    assert len(server.requests) == 1


def test_a_server_that_never_answers(asset, server, monkeypatch):
    server.silent = True
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError, match="timed out"):
        fetch("net")
    assert len(server.requests) == module.ATTEMPTS


def test_offline_and_require_touch_no_network(asset, monkeypatch):
    def refuse(*args):
        pytest.fail("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="SSDD_BENCH_OFFLINE"):
        fetch("net")
    with pytest.raises(UnavailableError, match=r"net.pth \(1 MB\).*ssdd-bench weights fetch net"):
        require("net")


def test_order_of_the_places(asset, tmp_path):
    order = ["mine", "cache/ssdd-bench/weights", "torch/hub/checkpoints"]
    order.append("home/.cache/torch/hub/checkpoints")
    for place in reversed(order):
        path = tmp_path / place / "net.pth"
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        assert find("net") == path


def test_a_file_that_was_changed(asset, tmp_path):
    path = fetch("net")
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match="not the published"):
        require("net")


def test_the_first_file_seen_counts_where_none_is_published(asset, tmp_path):
    asset(sha256="")
    path = fetch("net")
    assert SHA256 in (tmp_path / "cache/ssdd-bench/first-seen.json").read_text()
    path.write_bytes(b"!" + CONTENT[1:])
    with pytest.raises(WeightsError, match="not the published"):
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
    with pytest.raises(WeightsError, match="no 'other'"):
        unpack(archive, ["other"], folder)


@pytest.mark.parametrize("evil", ["lora/../../net.pth", "lora/../net.pth", "lora/..\\net.pth"])
def test_unpack_stays_in_its_folder(tmp_path, evil):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(evil, "x")
    with pytest.raises(WeightsError, match="not a plain name"):
        unpack(archive, ["lora/"], tmp_path / "out")
    assert not list(tmp_path.rglob("*net.pth"))


def test_a_damaged_archive(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("net.pth", CONTENT)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:60] + bytes(8) + whole[68:])
    with pytest.raises(WeightsError, match="damaged"):
        unpack(archive, ["net.pth"], tmp_path / "out")
    assert not (tmp_path / "out/net.pth").exists()


def test_verbs(asset, monkeypatch, tmp_path):
    asset(file="weights-inception.pth")
    monkeypatch.setattr(table, "assets", lambda: {"inception": table_entry})
    path = tmp_path / "mine" / "net.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    listed = CliRunner().invoke(command, ["list"], catch_exceptions=False).stdout
    assert "rfid" in listed
    assert "unpinned" not in listed
    assert "inception" in CliRunner().invoke(command, ["verify"], catch_exceptions=False).stdout
    fetched = CliRunner().invoke(command, ["fetch", "rfid"], catch_exceptions=False)
    assert fetched.stdout.strip() == str(path)
    path.write_bytes(b"other")
    assert isinstance(CliRunner().invoke(command, ["verify"]).exception, WeightsError)


table_entry = Asset("net.pth", "https://example.org/net.pth", len(CONTENT), SHA256, "MIT")


def test_hash_is_not_computed_twice(asset, monkeypatch):
    fetch("net")
    monkeypatch.setattr(locate, "sha256_file", lambda path: pytest.fail("hashed again"))
    require("net")
