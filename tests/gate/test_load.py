"""Sides of the gate: files, folders and revisions of a repository."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.gate.load import Key, load_side, read_side

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
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="git"):
        load_side("git:HEAD")
