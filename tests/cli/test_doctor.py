import json

from click.testing import CliRunner

from ssdd_bench.cli.doctor import PACKAGES, command
from ssdd_bench.metrics.catalog import find_metrics


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
