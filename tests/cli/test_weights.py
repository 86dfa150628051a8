"""The verbs list, fetch and verify of weights."""

import hashlib
import json

import pytest
from click.testing import CliRunner

from ssdd_bench.cli.weights import command
from ssdd_bench.errors import UnavailableError, UnknownNameError, WeightsError
from ssdd_bench.weights import assets as table
from ssdd_bench.weights import download
from ssdd_bench.weights.assets import Asset

CONTENT = b"weights"


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """Put two assets into the table, and the file of the first on this machine."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(
        table,
        "assets",
        lambda: {
            "inception": Asset("net.pth", "https://example.org/net.pth", 7, sha256, "MIT"),
            "dreamsim_ensemble": Asset("d.zip", "https://example.org/d.zip", 0, "", "MIT"),
        },
    )
    for name in ("XDG_CACHE_HOME", "HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("SSDD_BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    (tmp_path / "net.pth").write_bytes(CONTENT)
    return tmp_path / "net.pth"


def invoke(*arguments):
    return CliRunner().invoke(command, arguments)


def test_list(path):
    text = invoke("list").stdout
    assert "rfid" in text
    rows = json.loads(invoke("list", "--json").stdout)["weights"]
    assert rows["inception"]["found"] == str(path)
    assert (
        rows["dreamsim_ensemble"] | {"sha256": "", "bytes": 0, "found": ""}
        == (rows["dreamsim_ensemble"])
    )


def test_list_tells_what_training_needs(monkeypatch):
    asset = Asset("t.pth", "https://example.org/t.pth", 1, "", "MIT", "repa = 'mine'")
    monkeypatch.setattr(table, "assets", lambda: {"inception": asset})
    uses = [line.split("MIT")[-1].strip() for line in invoke("list").stdout.splitlines()[2:]]
    assert uses[0].startswith("rfid")
    assert uses[-1] == "training: repa = 'mine'"


def test_fetch_takes_metrics_and_leaves_out_of_all_what_has_no_checksum(path):
    for name in ("inception", "rfid", "all"):
        assert invoke("fetch", name).stdout.strip() == str(path)
    assert isinstance(invoke("fetch", "dreamsim_ensemble").exception, UnavailableError)
    assert isinstance(invoke("fetch", "incepton").exception, UnknownNameError)


def test_verify(path):
    good = json.loads(invoke("verify", "--json").stdout)["weights"]["inception"]
    assert good["right"]
    assert good["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    path.write_bytes(b"changed")
    assert isinstance(invoke("verify").exception, WeightsError)
    assert "WRONG" in invoke("verify").stdout
    path.unlink()
    assert "none of the files" in invoke("verify").stderr


def test_verify_refuses_what_nobody_confirmed(path):
    archive = path.with_name("d.zip")
    archive.write_bytes(b"zip")
    assert isinstance(invoke("verify").exception, WeightsError)
    archive.with_name("d.zip.sha256").write_text(hashlib.sha256(b"zip").hexdigest())
    assert invoke("verify").exception is None


def test_who_waits_for_another_download_says_so(path, monkeypatch):
    def fetch(name, progress, waiting):
        waiting()
        return path

    monkeypatch.setattr(download, "fetch", fetch)
    done = invoke("fetch", "inception")
    first = done.stderr.splitlines()[0]
    assert first == "inception: waiting for another process that downloads it"
