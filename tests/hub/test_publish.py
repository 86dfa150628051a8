"""Publishing to a Hub on this machine: files, leaderboard and card in one commit."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub

from ssdd_bench.hub.publish import InvalidResultsError, publish
from ssdd_bench.hub.pull import pull
from ssdd_bench.hub.remote import HubError, fetch_snapshot
from ssdd_bench.hub.validate import MAX_BYTES, sound_files
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.rows import to_json
from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.places import REPORT, RESULT_FILE, place_of
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json

REPO = "someone/results"
# huggingface_hub hands bytes to its transport in a way that the transport deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def files(hub: Hub) -> dict[str, bytes]:
    return hub.repositories["dataset", REPO].files


def parquet_of(metric: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ["a"], metric: [1.0]}), out)
    return out.getvalue()


@pytest.mark.medium
def test_a_first_publication(hub, save) -> None:
    paths = [save(index) for index in range(3)]
    done = publish([paths[0].parent], REPO)
    assert (len(done.added), done.replaced, done.unchanged) == (3, (), ())
    stored = {name: data for name, data in files(hub).items() if RESULT_FILE.fullmatch(name)}
    assert {Path(name).name: data for name, data in stored.items()} == {
        path.name: path.read_bytes() for path in paths
    }
    assert f"ssdd-bench pull {REPO}" in files(hub)["README.md"].decode()
    board = json.loads(files(hub)[REPORT])
    placed = [one["file"] for row in board["rows"] for one in row["results"]]
    assert sorted(placed) == sorted(stored)
    assert hub.repositories["dataset", REPO].messages[-1] == "Add 3 results, replace 0"


@pytest.mark.medium
def test_the_leaderboard_is_the_rows_of_a_report_of_the_repository(hub, save, tmp_path) -> None:
    """The same for a snapshot of huggingface_hub, whose files are links, a clone, and pulled."""
    paths = [save(index) for index in range(3)]
    write_bytes(paths[0].parent / f"scores/{paths[0].stem}.parquet", parquet_of("psnr"))
    save(0, scores=f"scores/{paths[0].stem}.parquet")
    publish([paths[0].parent], REPO)
    board = files(hub)[REPORT].decode()
    snapshot = fetch_snapshot(REPO, lambda name: True)
    links = [path for path in snapshot.folder.rglob("*.json") if path.is_symlink()]
    assert len(links) == 4
    for name, data in files(hub).items():
        write_bytes(tmp_path / "clone" / name, data)
    pull(REPO, tmp_path / "pulled", scores=True)
    for folder in (snapshot.folder, tmp_path / "clone", tmp_path / "pulled"):
        sound, left_out = sound_files([folder])
        assert (len(sound), left_out) == (3, [])
        source = load_source(sound)
        assert to_json(source) == board
        assert [len(scores) for scores in source.frame["scores"]].count(1) == 1


@pytest.mark.medium
def test_a_report_leaves_out_what_publish_leaves_out(hub, save, tmp_path) -> None:
    path = save(0)
    hub.add(REPO, {"results/m/000000000000/p/f.json": b"{"})
    done = publish([path], REPO)
    for name, data in files(hub).items():
        write_bytes(tmp_path / "clone" / name, data)
    sound, left_out = sound_files([tmp_path / "clone"])
    assert [file.name for file in sound] == [path.name]
    assert left_out == list(done.left_out)
    assert to_json(load_source(sound)).encode() == files(hub)[REPORT]
    (whole,) = sound_files([path])[0]  # a file by itself is as it was given
    assert whole == path


@pytest.mark.medium
def test_the_same_again_makes_no_commit(hub, save) -> None:
    path = save(0)
    publish([path], REPO)
    again = publish([path], REPO)
    assert (again.url, again.added, len(again.unchanged)) == ("", (), 1)
    assert len(hub.repositories["dataset", REPO].commits) == 2


@pytest.mark.medium
def test_rows_of_others_stay_and_a_new_measurement_replaces(hub, save) -> None:
    publish([save(0)], REPO)
    hub.repositories["dataset", REPO].files["README.md"] = b"---\ntags: []\n---\nours"
    save(0, seconds=99.0)
    done = publish([save(1).parent], REPO)
    assert (len(done.added), len(done.replaced), done.results) == (1, 1, 2)
    assert files(hub)["README.md"].endswith(b"ours")
    seconds = {json.loads(files(hub)[name])["seconds"] for name in done.replaced}
    assert seconds == {99.0}


@pytest.mark.medium
def test_a_broken_file_of_the_repository_is_no_row(hub, save) -> None:
    hub.add(REPO, {"results/m/000000000000/p/f.json": b"{"})
    done = publish([save(0)], REPO)
    assert done.results == 1
    assert [one.problem for one in done.left_out] == ["unreadable"]


@pytest.mark.medium
def test_files_that_are_too_large_are_not_downloaded(hub, save) -> None:
    path = save(0)
    publish([path], REPO)
    (own,) = (name for name in files(hub) if RESULT_FILE.fullmatch(name))
    other = "results/m/000000000000/p/f.json"
    large = {own: bytes(MAX_BYTES + 1), other: bytes(MAX_BYTES + 1)}
    hub.repositories["dataset", REPO].files.update(large)
    hub.requests.clear()
    done = publish([path], REPO)
    assert (done.added, done.replaced, done.results) == ((), (own,), 1)
    assert [(one.file, one.problem) for one in done.left_out] == [(other, "unreadable")]
    assert files(hub)[own] == path.read_bytes()
    assert not [one for one in hub.requests if one.endswith((own, other))]


def test_scores_go_along_as_a_large_file_and_pictures_do_not(hub, save) -> None:
    path = save(0)
    scores = f"scores/{path.stem}.parquet"
    write_bytes(path.parent / scores, b"PAR1 scores")
    write_bytes(path.parent / f"samples/{path.stem}.png", b"picture")
    publish([save(0, scores=scores)], REPO)
    (name,) = [name for name in files(hub) if name.endswith(".parquet")]
    assert files(hub)[name] == b"PAR1 scores"
    assert list(hub.large.values()) == [b"PAR1 scores"]
    assert not [name for name in files(hub) if name.endswith(".png")]
    assert publish([path], REPO).url == ""


def test_a_problem_stops_everything(hub, save) -> None:
    save(1)
    path = save(0, seconds=-1.0)
    with pytest.raises(InvalidResultsError, match=r"seconds is -1\.0") as caught:
        publish([path.parent], REPO)
    assert caught.value.exit_code == 1
    assert hub.requests == []


@pytest.mark.medium
def test_a_commit_in_between_is_not_overwritten(hub, save) -> None:
    publish([save(0)], REPO)
    hub.before_commit = lambda found: found.commits.append({**found.files, "new": b""})
    with pytest.raises(HubError, match="run the command again"):
        publish([save(1)], REPO)
    assert "new" in files(hub)


def test_a_pull_request_leaves_main_alone(hub, save) -> None:
    done = publish([save(0)], REPO, pull_request=True)
    assert done.url.endswith("/discussions/1")
    assert files(hub) == {}
    (proposed,) = hub.repositories["dataset", REPO].pull_requests
    assert REPORT in proposed


@pytest.mark.slow
def test_the_program_by_itself(hub, save, tmp_path) -> None:
    path = save(0)
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for verb in (("publish", path.parent, REPO), ("pull", REPO, "--out", tmp_path / "theirs")):
        done = subprocess.run(
            [sys.executable, "-m", "ssdd_bench", *map(str, verb)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    place = place_of(from_json(read_json(path), path)).as_posix()
    assert files(hub)[place] == path.read_bytes()
    assert (tmp_path / "theirs" / path.name).read_bytes() == path.read_bytes()
