"""The report of decoding speed, with narrow networks."""

import json

import pytest
import torch


@pytest.fixture
def report(load_script):
    return load_script("report.py")


def test_every_kind_of_row(report, device, tmp_path, capsys):
    out = tmp_path / "speed"
    report.main(["--device", str(device), "--tiny", "--out", str(out)])
    found = json.loads((tmp_path / "speed.json").read_text())
    assert [row["failure"] for row in found["rows"]] == [""] * len(list(report.tiny_cases()))
    assert {row["mode"] for row in found["rows"]} == {"eager", "default"}
    for row in found["rows"]:
        sizes = [one["batch"] for one in row["batches"]]
        assert sizes[0] == 1 or row["mode"] == "default"
        assert sizes == sorted(set(sizes))
        assert row["best_batch"] in sizes
        assert row["psnr_db"] is None or row["psnr_db"] > 20
    assert [one["px"] for one in found["ratios"]] == [64, 64]
    table = (tmp_path / "speed.md").read_text()
    assert table.startswith(f"# Decoding on {found['card']}\n")
    assert table in capsys.readouterr().out


def test_cases_are_distinct_and_those_of_the_ratio_come_in_pairs(report):
    cases = list(report.cases())
    assert len(set(cases)) == len(cases)
    pairs = {model: [c for c in cases if c.model == model] for model in ("S", report.SD_VAE)}
    a, b = ({(c.px, c.dtype, c.mode, c.layout) for c in found} for found in pairs.values())
    assert a == b


def test_no_time_leaves_all_out(report, device, tmp_path):
    out = tmp_path / "none"
    done = report.main(["--device", str(device), "--minutes", "-1", "--tiny", "--out", str(out)])
    assert not done.rows
    assert len(done.left_out) == len(list(report.tiny_cases()))
    assert (
        "Left out for lack of time: S 64 px fp32 eager contiguous"
        in out.with_suffix(".md").read_text()
    )


def test_only_some_rows(report, device):
    done = report.main(["--device", str(device), "--tiny", "--only", "^SD-VAE .* bf16"])
    assert [str(row.case) for row in done.rows] == ["SD-VAE 64 px bf16 eager channels_last"]


def test_where_the_time_goes(report, device, monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    only = ["--only", "^SD-VAE .* fp32"]
    done = report.main(["--device", str(device), "--tiny", "--kernels", "--cudnn-benchmark", *only])
    (row,) = done.record()["rows"]
    assert done.record()["cudnn_benchmark"]
    assert 0 < len(row["kernels"]) <= report.KERNELS
    times = [one["ms"] for one in row["kernels"]]
    assert times == sorted(times, reverse=True)
    assert 0 < sum(times) < 1000 * done.record()["seconds"]
    assert any("conv" in one["name"].lower() for one in row["kernels"])
    assert row["kernels"][0]["name"][:100] in capsys.readouterr().out


def test_a_row_that_fails_is_a_finding(report, device, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no kernel | of this kind\nmore")

    monkeypatch.setattr(report, "make_inputs", fail)
    done = report.main(["--device", str(device), "--tiny", "--out", str(tmp_path / "failed")])
    assert {row.failure for row in done.rows} == {"RuntimeError: no kernel | of this kind"}
    assert "no kernel / of this kind" in done.markdown()


def test_memory_that_runs_out_ends_the_doubling(report, device, monkeypatch):
    inputs = report.make_inputs

    def hungry(px, batch, where):
        if batch > 2:
            raise MemoryError
        return inputs(px, batch, where)

    monkeypatch.setattr(report, "make_inputs", hungry)
    monkeypatch.setattr(report, "GROWTH", 0.0)
    done = report.Report(device, 1.0, tiny=True, out=None)
    done.run(iter([report.Case("S", 64, "fp32")]))
    (row,) = done.rows
    assert not row.failure
    assert [one["batch"] for one in row.batches] == [1, 2]
