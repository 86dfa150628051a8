"""The report verb: files written, one table printed, mistakes in one line, no torch."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdd_bench.cli import report
from ssdd_bench.errors import OutputError, UnknownNameError, UserError
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import load_results, save_result

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"


@pytest.fixture
def result() -> Result:
    return load_results([FIXTURE])[0]


def invoke(*arguments: object) -> tuple[str, str]:
    done = CliRunner().invoke(
        report.command, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_writes_tables_and_figures(result: Result, tmp_path: Path) -> None:
    save_result(result, tmp_path / "results")
    save_result(replace(result, resolution=128), tmp_path / "results")
    out = tmp_path / "deep" / "reports"
    stdout, stderr = invoke(tmp_path / "results", "--out", out)
    figures = ("quality-vs-speed", "quality-vs-resolution", "speed-scaling", "published-figure")
    expected = {f"{name}.{suffix}" for name in figures for suffix in ("png", "svg", "pdf")}
    expected |= {"table.md", "table.csv", "table.tex", "table.html", "index.html", "report.json"}
    assert {path.name for path in out.iterdir()} == expected
    assert all(path.stat().st_size for path in out.iterdir())
    assert "128 × 128 px" in stdout
    assert "fd_effnet" in stdout
    assert "wrote" not in stdout
    assert stderr.count("wrote ") == len(expected)


@pytest.mark.slow
def test_a_figure_with_nothing_to_show_does_not_stay_from_an_earlier_report(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_PUBLISHED", tmp_path / "absent")
    save_result(result, tmp_path / "one")
    save_result(result, tmp_path / "two")
    save_result(replace(result, resolution=128), tmp_path / "two")
    invoke(tmp_path / "two", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "speed-scaling.png").exists()
    invoke(tmp_path / "one", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "speed-scaling.png").exists()


@pytest.mark.slow
def test_without_published_numbers_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_PUBLISHED", tmp_path / "absent")
    _, stderr = invoke(FIXTURE, "--out", tmp_path)
    assert not (tmp_path / "published-figure.png").exists()
    assert stderr.count("no published numbers here") == 1


@pytest.mark.slow
def test_without_timings_there_is_a_table_and_no_figure(result: Result, tmp_path: Path) -> None:
    file = save_result(replace(result, speed=None), tmp_path)
    _, stderr = invoke(file, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "table.md").exists()
    assert not (tmp_path / "out" / "quality-vs-speed.png").exists()
    assert "no decode timings" in stderr


@pytest.mark.medium
def test_mistakes_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{")
    with pytest.raises(UserError, match="no such result"):
        invoke(tmp_path / "absent")
    with pytest.raises(UserError, match="damaged JSON"):
        invoke(tmp_path / "file")
    with pytest.raises(UnknownNameError, match="unknown metric 'fid'"):
        invoke(FIXTURE, "--out", tmp_path, "--metric", "fid")
    with pytest.raises(OutputError, match="cannot write"):
        invoke(FIXTURE, "--out", tmp_path / "file" / "below")
    with pytest.raises(UserError, match="no files of published numbers"):
        invoke(FIXTURE, "--out", tmp_path, "--published", tmp_path)
    assert gc.isenabled(), "which a report turns off for itself"


def test_needs_results() -> None:
    assert CliRunner().invoke(report.command, []).exit_code == 2


@pytest.mark.slow
def test_runs_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ssdd_bench.cli.report import command\n"
        f"command([{str(FIXTURE)!r}, '--out', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
