"""--json: every verb has it, and prints one document to standard output and nothing else."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._verbs import verb
from ssdd_bench.cli.main import cli
from ssdd_bench.errors import JobsFailedError, UserError

FIXTURES = Path(__file__).parents[1] / "fixtures"


def invoke(*arguments: object, code: int = 0) -> tuple[Any, str]:
    """The document, and standard error."""
    result = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    assert result.exit_code == code, (result.output, result.exception)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(result.stdout, parse_constant=refuse), result.stderr


@pytest.fixture(scope="module")
def run_folder(make_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(make_photos(3, (32, 32)), folder / "photos")
    return folder


def run(folder: Path, *more: object, code: int = 0) -> tuple[Any, str]:
    return invoke(
        "run", "--res", 32, "--data", folder / "photos", "--out", folder / "runs", "--metrics",
        "psnr,ssim", "--no-speed", "--no-pictures", *more, code=code,
    )  # fmt: skip


def test_a_document_holds_no_nan_and_what_libraries_print_stays_out() -> None:
    @verb
    def command() -> None:
        sys.stdout.write("a library says hello\n")
        assert print_json({"values": (math.nan, -math.inf, 1.5), "path": Path("a/b")})

    result = CliRunner().invoke(command, ["--json"])
    document = {"values": [None, None, 1.5], "path": str(Path("a/b"))}
    assert json.loads(result.stdout) == document
    assert result.stderr == "a library says hello\n"


@pytest.mark.slow
def test_run_tells_jobs_scores_and_files(run_folder: Path) -> None:
    found, told = run(run_folder, "--tokenizers", "identity,jpeg")
    assert "PSNR" not in told  # no table
    assert [(one["tokenizer"], one["resolution"], one["reused"]) for one in found["jobs"]] == [
        ("identity", 32, False),
        ("jpeg", 32, False),
    ]
    assert found["jobs"][0]["metrics"]["psnr"]["value"] is None
    assert found["jobs"][0]["metrics"]["psnr"]["infinite"] == 3
    assert found["jobs"][1]["metrics"]["psnr"]["value"] > 10
    assert found["failures"] == []
    paths = [*(one["path"] for one in found["jobs"]), *found["files"]]
    assert all(Path(path).is_file() for path in paths)
    again, _ = run(run_folder, "--tokenizers", "identity")
    assert again["jobs"][0]["reused"]
    planned, _ = run(run_folder, "--tokenizers", "jpeg", "--dry-run")
    (job,) = planned["jobs"]
    assert job | {"expected_s": None} == {
        "tokenizer": "jpeg",
        "resolution": 32,
        "protocol": "default-v1",
        "seed": 0,
        "has_result": "jpeg" in [one["tokenizer"] for one in found["jobs"]],
        "expected_s": None,
    }
    assert planned["missing"] == []


@pytest.mark.slow
def test_the_option_is_not_repeated_from_a_file(run_folder: Path) -> None:
    run(run_folder, "--tokenizers", "identity")
    assert "json" not in (run_folder / "runs" / "run.toml").read_text().replace("--json", "")


@pytest.mark.slow
def test_failed_jobs_are_in_the_document_too(run_folder: Path) -> None:
    arguments = ["run", "--tokenizers", "identity,ssdd:checkpoint=missing.safetensors", "--res",
                 "32", "--data", str(run_folder / "photos"), "--out", str(run_folder / "failed"),
                 "--metrics", "psnr", "--no-speed", "--json"]  # fmt: skip
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, JobsFailedError)
    found = json.loads(result.stdout)
    assert [one["tokenizer"] for one in found["jobs"]] == ["identity"]
    (failure,) = found["failures"]
    assert "missing.safetensors" in failure["error"]


def test_an_error_leaves_standard_output_empty(run_folder: Path) -> None:
    result = CliRunner().invoke(cli, ["run", "--tokenizers", "jpg", "--json"])
    assert isinstance(result.exception, UserError)
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"list {what}" for what in ("tokenizers", "zoo", "metrics", "protocols", "data")),
        "list suites",
        "doctor",
        "protocol show default-v1",
        "protocol diff default-v1 ssdd-paper-v1",
        "weights list",
        "weights verify",
        pytest.param("train ssdd --plan", marks=pytest.mark.slow),
        "check-tokenizer jpeg --res 32",
        pytest.param(
            "gen speed --sizes S --shapes f16c4 --res 64 --steps 2", marks=pytest.mark.slow
        ),
    ],
)
def test_cheap_verbs(arguments: str) -> None:
    found, _ = invoke(*arguments.split())
    assert found


@pytest.mark.slow
def test_verbs_that_read_results(run_folder: Path, tmp_path: Path) -> None:
    run(run_folder, "--tokenizers", "jpeg,webp")
    results = run_folder / "runs"
    report, _ = invoke("report", results, "--out", tmp_path / "report")
    assert {Path(file).name for file in report["files"]} >= {"index.html", "table.md"}
    compared, _ = invoke("compare", results, results)
    assert compared["exit_code"] == 0
    photos = run_folder / "photos"
    scored, _ = invoke(
        "score", photos, photos, "--metrics", "psnr,ssim", "--out", tmp_path / "score"
    )
    assert scored["metrics"]["ssim"]["value"] == pytest.approx(1)
    assert Path(scored["path"]).is_file()


def test_new_tokenizer_names_its_files(tmp_path: Path) -> None:
    found, _ = invoke("new-tokenizer", "my-vae", "--out", tmp_path)
    assert found["files"]
    assert all(Path(file).is_file() for file in found["files"])


def test_noise_tells_its_thresholds(run_folder: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        result = json.loads((FIXTURES / "result.json").read_text()) | {"seed": seed}
        result["metrics"]["psnr"] |= {"value": 20 + 0.1 * seed}
        (tmp_path / f"{seed}.json").write_text(json.dumps(result))
    found, _ = invoke("noise", tmp_path, "--out", tmp_path / "noise.toml")
    assert found["thresholds"]["psnr"]["amount"] > 0
    assert found["path"] == str(tmp_path / "noise.toml")


def test_columns_show_a_dash_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_columns([{"id": "driver", "machine": None}])
    assert "–" in capsys.readouterr().out
