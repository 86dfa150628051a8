"""The gate as a command: every form of its verdict."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner

from ssdd_bench.cli.compare import command
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.run import run


def measure(tokenizers, out):
    run(
        tokenizers,
        resolutions=(32,),
        out=out,
        metrics=("psnr", "ssim", "mae"),
        limit=6,
        speed=False,
        pictures=False,
        progress=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    measure("jpeg:quality=50,90 webp", folder)
    return folder


def gate(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.medium
def test_command_writes_every_form_and_exits_with_the_verdict(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    done = gate(results, results, "--junit", "gate.xml", "--markdown", "gate.md")
    assert done.exit_code == 0
    assert "no regression" in done.stdout
    assert (tmp_path / "gate.md").read_text() == (tmp_path / "summary.md").read_text()
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("9", "0")
    head = tmp_path / "head"
    measure("jpeg:quality=90", head)
    (path,) = head.glob("*.json")
    data = json.loads(path.read_text())
    data["metrics"]["mae"]["value"] *= 2
    data["scores"] = ""
    path.write_text(json.dumps(data))
    before = next(results.glob("jpeg*90*.json"))
    done = gate(before, head, "--json", "--junit", "gate.xml")
    assert done.exit_code == json.loads(done.stdout)["exit_code"] == 1
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert suite.get("failures") == "1"
    assert gate(before, head, "--fail", "mae:+150%").exit_code == 0
    (tmp_path / "pyproject.toml").write_text('[tool.ssdd-bench.gate]\nfail = ["mae:+150%"]\n')
    assert gate(before, head).exit_code == 0
    assert gate(before, head, "--fail", "mae:+10%").exit_code == 1
    assert gate(results, head).exit_code == 2


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_missing_baseline_names_the_option_that_writes_it(results, tmp_path, place):
    (tmp_path / "empty").mkdir()
    where = tmp_path / place
    error = gate(where, results).exception
    assert isinstance(error, UserError)
    assert str(error).endswith(f"--out {where}")
