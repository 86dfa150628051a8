import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
from click.testing import CliRunner

from ssdd_bench.cli.doctor import command
from ssdd_bench.errors import UserError
from ssdd_bench.metrics.base import PACKAGES
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.weights.hub import model_files


def test_says_what_is_ready_and_how_to_fix_the_rest(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME", "TORCH_HOME", "SSDD_BENCH_WEIGHTS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    found = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).stdout)
    assert found["metrics"].keys() == find_metrics().keys()
    assert found["metrics"]["psnr"] == "ready"
    assert found["metrics"]["rfid"] == "needs weights: ssdd-bench weights fetch inception"
    assert "ssundaram21/dreamsim/releases" in found["metrics"]["dreamsim"]
    assert found["tokenizers"]["ssdd"] == "found"
    assert found["sample photographs"] == 35
    text = CliRunner().invoke(command, [], catch_exceptions=False).stdout
    assert "weights fetch alexnet" in text


def test_a_file_that_is_cut_off_is_not_ready(tmp_path, monkeypatch):
    monkeypatch.setenv("SSDD_BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"half")
    found = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).stdout)
    assert "weights fetch alexnet" in found["metrics"]["lpips_alex"]


def test_every_extra_of_a_metric_has_a_package():
    assert {info.extra for info in find_metrics().values() if info.extra} == PACKAGES.keys()


class Hub(BaseHTTPRequestHandler):
    """Answer for every file that a manifest names, but for what a test changed."""

    changed: ClassVar[dict[str, tuple[int, dict[str, str]]]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.asked.append(self.path)
        status, headers = self.changed.get(self.path, (200, {"Content-Length": "1000000"}))
        self.send_response(status)
        for name, value in {"ETag": '"small"', "X-Repo-Commit": "c" * 40, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    """Serve a Hub on this machine; gives its handler."""
    monkeypatch.setattr(Hub, "changed", {})
    monkeypatch.setattr(Hub, "asked", [])
    monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Hub
        server.shutdown()
        thread.join()


def online():
    result = CliRunner().invoke(command, ["--online", "--json"])
    return json.loads(result.stdout)["published weights"], result.exit_code


def address(name, file):
    known = TOKENIZERS.all()[name].published
    return f"/{known.hub}/resolve/{known.revision or 'main'}/{file}"


def expect(hub):
    """Let the Hub tell the sizes and checksums that the manifests record."""
    for name, info in TOKENIZERS.all().items():
        if info.published and info.published.hub:
            for file, size in info.published.bytes.items():
                etag = info.published.sha256.get(file, "small")
                headers = {"Content-Length": str(size), "ETag": f'"{etag}"'}
                hub.changed[address(name, file)] = (200, headers)


@pytest.mark.slow
def test_online_asks_for_every_published_file(hub):
    expect(hub)
    found, status = online()
    known = {name: info.published for name, info in TOKENIZERS.all().items() if info.published}
    assert found.keys() == {name for name, one in known.items() if one.hub}
    assert status == 0
    assert {
        address(name, file)
        for name, one in known.items()
        if one.hub
        for file in one.files or model_files(one.folder)
    } == set(hub.asked)
    assert found["sd-vae-ft-mse"] == "found: 2 files, 2 MB"


@pytest.fixture
def two(hub, monkeypatch):
    """Let there be two published tokenizers, of which all is well on the Hub."""
    expect(hub)
    known = {name: TOKENIZERS.all()[name] for name in ("ssdd-official", "sd3-vae")}
    monkeypatch.setattr(TOKENIZERS, "all", lambda: known)
    return hub


F16 = "F16C16/F16C16_B_256.safetensors"


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (404, {"X-Error-Code": "EntryNotFound"}, "no such file"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "no such revision"),
        (401, {"X-Error-Code": "RepoNotFound"}, "no such repository, or a private one"),
        (503, {}, "HfHubHTTPError"),
        (200, {"Content-Length": "7"}, "its bytes is 7, expected 268991676"),
        (200, {"ETag": "a" * 64}, f"its sha256 is {'a' * 64}, expected 15c4a2ee1751"),
    ],
)
def test_online_tells_what_is_wrong_and_fails(two, status, headers, message):
    two.changed[address("ssdd-official", F16)] = (status, headers)
    found, code = online()
    assert found["ssdd-official"].startswith(f"facebook/SSDD/{F16}: {message}")
    assert code == 1


def test_a_gated_repository_exists(two):
    for file in model_files("vae"):
        two.changed[address("sd3-vae", file)] = (403, {"X-Error-Code": "GatedRepo"})
    found, code = online()
    assert found["sd3-vae"].startswith("gated: accept its licence at https://huggingface.co/stabil")
    assert code == 0


def test_online_is_refused_offline(monkeypatch):
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    with pytest.raises(UserError, match="SSDD_BENCH_OFFLINE is set"):
        CliRunner().invoke(command, ["--online"], catch_exceptions=False)
