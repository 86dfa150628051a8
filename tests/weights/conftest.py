"""Assets on a server on this machine, and folders of their own."""

import hashlib
import http.server
import threading

import pytest
from hub_server import hub

from ssdd_bench.weights import assets as table
from ssdd_bench.weights.assets import Asset

__all__ = ["hub"]

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Server(http.server.ThreadingHTTPServer):
    """Serve CONTENT; may break off, ignore ranges, send more, or never answer."""

    break_after: int | None = None
    ranges = True
    silent = False
    extra = 0  # bytes beyond those that the asset has
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
        self.send_header("Content-Length", str(len(CONTENT) - start + server.extra))
        self.end_headers()
        end = len(CONTENT)
        if server.break_after is not None:
            end, server.break_after = start + server.break_after, None
        self.wfile.write(CONTENT[start:end] + b"x" * server.extra)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
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
    """Put one asset into the table, with changed fields if any; returns the function that does."""

    def put(**changes):
        values = {
            "file": "net.pth",
            "url": f"http://127.0.0.1:{server.server_port}/net.pth",
            "bytes": len(CONTENT),
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "licence": "MIT",
        }
        found = {"net": Asset(**values | changes)}
        monkeypatch.setattr(table, "assets", lambda: found)

    put()
    return put


@pytest.fixture
def content():
    """Return the bytes that the server sends."""
    return CONTENT
