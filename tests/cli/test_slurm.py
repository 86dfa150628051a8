"""Runs in shares of SLURM: the scripts, and the shares on this machine."""

import json
from functools import partial
from pathlib import Path

import pytest
from scores import measured

from ssdd_bench.results.records import read_toml

pytest.importorskip("submitit")

RUN = ("run", "--tokenizers", "jpeg:quality=30,downsample", "--res", "16", "--device", "cpu")
SETTINGS = ("--metrics", "psnr,ssim", "--no-speed", "--no-pictures")


@pytest.fixture
def run(program):
    return partial(program, *RUN, *SETTINGS)


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(150, (16, 16))


def test_dry_run_prints_what_slurm_would_get(run, tmp_path):
    options = ("--launcher", "slurm", "--jobs", 32, "--sbatch", "--partition=a --time=1:00:00")
    out = tmp_path / "no"
    code, text, _ = run(*options, "--gpus-per-job", 2, "--out", out, "--dry-run")
    assert code == 0
    for line in ("--array=0-31%32", "--partition=a", "--time=60", "--gpus-per-node=2"):
        assert f"#SBATCH {line}\n" in text
    assert "#SBATCH --dependency=afterany:" in text
    assert text.count("#SBATCH --gpus") == 1  # a merge needs none
    assert not out.exists()
    code, text, _ = run(*options, "--out", out, "--dry-run", "--json")
    scripts = json.loads(text)
    assert "gpus" not in scripts["array"], "on the CPU"
    assert "afterany" in scripts["merge"]


def test_shares_that_wait_keep_their_command(run, photos, tmp_path, monkeypatch):
    """Another command into the same folder comes before they start."""
    submissions = []
    monkeypatch.setattr("ssdd_bench.cli.run.submit_shares", submissions.append)
    options = ("--data", photos, "--launcher", "slurm", "--jobs", 2, "--out", tmp_path)
    for more in ((), ("--limit", 64, "--force")):
        assert run(*options, *more)[0] == 0
    assert ["--force" in one.command for one in submissions] == [False, True]
    first, second = ([Path(one) for one in each.command if ".toml" in one] for each in submissions)
    assert "limit" not in read_toml(*first)
    assert read_toml(*second)["limit"] == 64
    assert {path.parent for path in (*first, *second)} == {tmp_path / "logs"}


def test_a_run_is_merged_without_a_gpu(run, photos, tmp_path, monkeypatch):
    submissions = []
    monkeypatch.setattr("ssdd_bench.cli.run.submit_shares", submissions.append)
    options = ("--launcher", "slurm", "--jobs", 2, "--gpus-per-job", 2, "--force")
    assert run("--data", photos, *options, "--out", tmp_path)[0] == 0
    (found,) = submissions
    assert (found.gpus, found.merge_gpus) == (2, 0)
    assert found.merge[3:] == ("merge", str(tmp_path))
    assert "--force" in found.command


@pytest.mark.parametrize("option", [("--in-process",), ("--shard", "0/2")])
def test_a_verb_of_generation_is_submitted_whole(program, tmp_path, option):
    verb = ("gen", "score", "reference", "samples", "--out", tmp_path / "no")
    code, _, err = program(*verb, "--launcher", "slurm", "--jobs", 2, *option)
    assert code == 2
    assert option[0] in err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "line",
    [
        "encode --tokenizer klvae --data D --res 64 --no-flips --device cpu",
        "score reference samples --metrics gfid --device cpu",
    ],
)
def test_verbs_of_generation_are_submitted_as_they_were_typed(program, tmp_path, monkeypatch, line):
    submissions = []
    monkeypatch.setattr("ssdd_bench.cli._slurm.submit_shares", submissions.append)
    command = ["gen", *line.split(), "--out", str(tmp_path / "out")]
    assert program(*command, "--launcher", "slurm", "--jobs", 3, "--timeout", 9)[0] == 0
    (found,) = submissions
    assert sorted(found.command[3:]) == sorted([*command, "--timeout", "9.0"])
    assert (found.merge, found.shares, found.gpus) == (found.command, 3, 0)
    assert found.logs == tmp_path / "out" / "logs"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--jobs"),
        (("--jobs", 2, "--shard", "0/2"), "--shard"),
        (("--jobs", 2, "--sbatch", "-p gpu"), "--partition=gpu"),
        (("--jobs", 2, "--sbatch", "'"), "quotation"),
        (("--jobs", 2, "--sbatch", "--time=soon"), "time=soon"),
    ],
)
def test_what_cannot_be_submitted_is_refused(run, tmp_path, options, words):
    code, _, err = run("--launcher", "slurm", *options, "--out", tmp_path, "--dry-run")
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    "options",
    [
        ("--sbatch", "--partition=a"),
        ("--sbatch", "--partition=a", "--launcher", "ray"),
        ("--gpus-per-job", 2),
    ],
)
def test_options_of_a_cluster_without_it_are_refused(run, tmp_path, options):
    code, _, err = run(*options, "--out", tmp_path / "no", "--dry-run")
    assert code == 2
    assert f"{options[0]} is for" in err
    assert "--launcher slurm" in err
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_shares_here_equal_one_process(run, photos, tmp_path):
    data = ("--data", photos)
    assert run(*data, "--out", tmp_path / "one", "--in-process")[0] == 0
    shares = ("--launcher", "slurm-local", "--jobs", 3, "--out", tmp_path / "shares")
    code, out, _ = run(*data, *shares, "--json")
    assert code == 0
    assert len(json.loads(out)["jobs"]) == 2
    assert measured(tmp_path / "shares") == measured(tmp_path / "one")
    assert len(list((tmp_path / "shares" / "logs").glob("*_log.err"))) == 3
    assert run(*data, *shares)[0] == 0, "there is nothing left to do"


@pytest.mark.slow
def test_shares_that_all_fail_name_their_logs(program, photos, tmp_path):
    options = ("--launcher", "slurm-local", "--jobs", 2, "--data", photos, "--out", tmp_path)
    code, _, err = program("run", "--tokenizers", "ssdd:checkpoint=no-file", *SETTINGS, *options)
    assert code == 3
    assert str(tmp_path / "logs") in err
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("*.err"))
    assert "no-file" in logs
