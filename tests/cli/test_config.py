"""Options of a run from a file: flags go before it, and what a run leaves behind repeats it."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdd_bench.cli._config import find_suites
from ssdd_bench.cli.run import command
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.records import read_toml
from ssdd_bench.results.store import load_results

CONFIG = """
tokenizers = ["jpeg:quality=10,50", "identity"]
res = [24, 32]
metrics = ["psnr", "ssim"]
seed = [0, 1]
limit = 3
speed = false
pictures = false
"""


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(4, (48, 48))


@pytest.fixture
def config(tmp_path, photos):
    path = tmp_path / "run.toml"
    path.write_text(f'{CONFIG}data = "{photos}"\nout = "{tmp_path / "out"}"\n')
    return path


def invoke(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def jobs(*arguments):
    return invoke(*arguments, "--dry-run").stdout.splitlines()


def test_a_file_asks_for_what_the_flags_would(config):
    flags = ["--tokenizers", "jpeg:quality=10,50,identity", "--res", "24,32", "--seed", "0,1"]
    assert jobs("--config", config) == jobs(*flags)
    assert len(jobs("--config", config)) == 6


def test_flags_go_before_the_file_wherever_they_stand(config):
    expected = ["jpeg:quality=10 at 24 px, default-v1", "jpeg:quality=50 at 24 px, default-v1",
                "identity at 24 px, default-v1"]  # fmt: skip
    assert jobs("--config", config, "--res", "24") == expected
    assert jobs("--res", "24", "--config", config) == expected


def test_a_file_goes_before_a_suite(config):
    suite = ["--suite", "ci", "--res", "24"]
    assert jobs(*suite, "--config", config) == jobs("--config", config, *suite)
    assert jobs(*suite, "--config", config)[0].startswith("jpeg:quality=10")


@pytest.mark.slow
def test_what_a_run_leaves_repeats_it(config, tmp_path, monkeypatch):
    """The same jobs, all of which are there already; a flag that was overridden stays so."""
    flags = ["--config", config, "--res", "24", "--limit", "2", "--force"]
    monkeypatch.setattr(sys, "argv", ["ssdd-bench", "run"])
    invoke(*flags)
    saved = tmp_path / "out" / "run.toml"
    kept = read_toml(saved)
    assert (kept["res"], kept["limit"], kept["speed"]) == ([24], 2, False)
    assert not {"config", "suite", "dry-run", "force", "quiet", "json", "debug"} & kept.keys()
    assert jobs("--config", saved) == jobs(*flags)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.json")}
    again = invoke("--config", saved)
    assert again.output.count(", kept\n") == len(before) == 3
    assert read_toml(saved) == kept
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_a_result_of_a_file_records_the_flags_in_force(config, tmp_path):
    invoke("--config", config, "--res", "24")
    result = load_results([tmp_path / "out"])[0]
    assert result.command.startswith("ssdd-bench run --tokenizers 'jpeg:quality=10,50 identity'")
    for piece in ("--res 24", "--limit 3", "--no-speed", "--metrics psnr,ssim"):
        assert piece in result.command
    assert "--device" not in result.command  # nobody chose it
    invoke("--config", tmp_path / "out" / "run.toml", "--force")
    (again,) = {one.command for one in load_results([tmp_path / "out"])}
    assert again == result.command


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('tokenisers = "ssdd"', r"run.toml: 'tokenisers': did you mean tokenizers"),
        ("no-speed = true", r"'no-speed': did you mean speed"),
        ("dry-run = true", "unknown key"),
        ('res = "large"', "'res': 'large' is not a valid integer"),
        ("res = [256, 1.5]", "'res': '1.5' is not a valid integer"),
        ("limit = true", "'limit': 'True' is not a valid integer"),
        ("limit = 0", "'limit': 0 is not in the range"),
        ('intervals = "perhaps"', "'intervals': 'perhaps' is not a valid boolean"),
        ("tokenizers = ", "run.toml"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = tmp_path / "run.toml"
    path.write_text(line)
    with pytest.raises(UserError, match=message):
        invoke("--config", path)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"absent\.toml"):
        invoke("--config", tmp_path / "absent.toml")


def test_suites_are_whole():
    assert list(find_suites()) == ["ci", "paper", "quick"]
    for name, path in find_suites().items():
        data = read_toml(path)
        parse_requests(" ".join(data["tokenizers"]))
        assert set(data["metrics"]) <= find_metrics("pairs").keys()
        assert data.get("protocol", "default-v1") in PROTOCOLS.all()
        assert len(jobs("--suite", name)) >= 4
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# ")
    with pytest.raises(UnknownNameError, match="did you mean quick"):
        invoke("--suite", "quik")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quick", "ci"])
def test_a_suite_runs(tmp_path, name):
    flags = ["--res", 32, "--limit", 1, "--no-speed", "--no-pictures"]
    expected = jobs("--suite", name, *flags)
    invoke("--suite", name, *flags, "--out", tmp_path, "--quiet")
    results = load_results([tmp_path])
    assert len(results) == len(expected)
    assert {result.data.name for result in results} == {"sample"}
    assert all(not value.unavailable for one in results for value in one.metrics.values())


@pytest.mark.slow
def test_paper_says_what_is_absent_and_its_jobs_fail_alone(tmp_path, monkeypatch):
    """A missing data set fails the run; with other images only what lacks weights fails."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("SSDD_BENCH_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"'imagenet-val' \(50,000 images\) is not on this machine"):
        invoke("--suite", "paper", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()  # nor were weights of metrics asked for
    flags = ["--suite", "paper", "--metrics", "mse", "--out", tmp_path / "out", "--quiet"]
    paper = read_toml(find_suites()["paper"])["tokenizers"]
    other = [*flags, "--data", "sample", "--limit", 1, "--res", 32, "--no-speed", "--no-pictures"]
    requests = " ".join(["identity", *(one for one in paper if one.startswith("ssdd-official"))])
    with pytest.raises(UserError, match="16 of 17 jobs failed"):
        invoke(*other, "--tokenizers", requests)
    (result,) = load_results([tmp_path / "out"])
    assert result.protocol["id"] == "ssdd-paper-v1"
    assert Path(tmp_path / "out" / "run.toml").is_file()
