"""Sides of the gate: files, folders and revisions of a repository."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.gate.load import Key, load_side, read_side, replace_results

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"
KEY = Key("ssdd", 64, "default-v1", 0)


def git(folder, *arguments):
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_files_and_folders(tmp_path):
    (tmp_path / "deep").mkdir()
    shutil.copy(FIXTURE, tmp_path / "deep" / "a.json")
    for where in (FIXTURE, tmp_path, tmp_path / "deep" / "a.json"):
        assert [one.key for one in load_side(str(where), "make it")] == [KEY]
    assert [(one.key, one.scores) for one in read_side([FIXTURE])] == [(KEY, {})]
    for where in (tmp_path / "absent", tmp_path / "deep" / "b.json"):
        with pytest.raises(UserError, match="make it"):
            load_side(str(where), "make it")
        with pytest.raises(UserError):
            load_side(str(where))


def test_revisions_of_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q")
    for folder in ("results", "other/place"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(FIXTURE, tmp_path / folder / "a.json")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    shutil.rmtree(tmp_path / "results")
    shutil.rmtree(tmp_path / "other")
    for where in ("git:HEAD", "git:HEAD:other/place", "git:HEAD:results/a.json"):
        assert [one.key for one in load_side(where, "make it")] == [KEY]
    for where, token in (
        ("git:HEAD:absent", "git:HEAD:absent"),
        ("git:nothing", "git:nothing:results"),
        ("git:--output=x", "--output=x"),
    ):
        with pytest.raises(UserError, match=token) as caught:
            load_side(where)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()  # git had no such option
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="git"):
        load_side("git:HEAD")


def write_result(folder, name, data="sample", seed=0, scores=True):
    whole = json.loads(FIXTURE.read_text())
    whole["data"]["name"], whole["seed"] = data, seed
    whole["scores"] = f"scores/{name}.parquet" if scores else ""
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(whole))
    (folder / whole["scores"]).write_text("") if scores else None


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_new_results_take_the_place_of_those_of_the_same_job_and_images(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write_result(old, "ssdd_64_default-v1_aaaaaaaaaa")
    write_result(old, "ssdd_64_default-v1_bbbbbbbbbb", data="mine")
    write_result(old, "ssdd_64_default-v1_cccccccccc", seed=1)
    write_result(old, "ssdd-steps-2_64_default-v1_dddddddddd")
    (old / "ssdd_64_default-v1_eeeeeeeeee.json").write_text('{"schema_version": 1}')
    write_result(new, "ssdd_64_default-v1_ffffffffff", scores=False)
    replace_results(old, new)
    kept = [
        "ssdd-steps-2_64_default-v1_dddddddddd",
        *(f"ssdd_64_default-v1_{10 * x}" for x in "bc"),
    ]
    assert files_in(old) == sorted(
        [f"{name}.json" for name in kept]
        + [f"scores/{name}.parquet" for name in kept]
        + ["ssdd_64_default-v1_ffffffffff.json"]
    )
    replace_results(tmp_path / "nothing" / "yet", new)
    assert files_in(tmp_path / "nothing" / "yet") == ["ssdd_64_default-v1_ffffffffff.json"]
