"""Pulling from a Hub on this machine: only checked files come in, and none mixes silently."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub

from ssdd_bench.hub import validate
from ssdd_bench.hub.findings import Problem
from ssdd_bench.hub.pull import Outcome, pull, scores_fit
from ssdd_bench.hub.remote import HubError
from ssdd_bench.hub.validate import MAX_BYTES, MAX_SCORES_BYTES
from ssdd_bench.protocols.standing import Standing, protocol_hash
from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.places import place_of, scores_place
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json, load_results

REPO = "someone/results"


def offer(hub: Hub, *paths: Path, **more: bytes) -> dict[str, bytes]:
    """Put results into the repository at their places, and other files."""
    files = {
        place_of(from_json(read_json(path), path)).as_posix(): path.read_bytes() for path in paths
    }
    hub.add(REPO, files | more)
    return files


def parquet(**columns: list) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_results_come_in_as_they_are(hub, save, tmp_path) -> None:
    paths = [save(0), save(1)]
    offer(hub, *paths, **{"README.md": b"", "leaderboard.json": b"{}", "docs/a.md": b""})
    out = tmp_path / "theirs"
    pulled = pull(REPO, out)
    assert [one.outcome for one in pulled] == [Outcome.WRITTEN] * 2
    assert everything(out) == {path.name for path in paths}
    for path in paths:
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert len(load_results([out])) == 2
    assert [one.outcome for one in pull(REPO, out)] == [Outcome.SAME] * 2


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({"numbers_version": None}, Standing.UNRECORDED_NUMBERS),
        ({"numbers_version": 1}, Standing.OTHER_NUMBERS),
    ],
)
def test_other_numbers_are_refused_or_kept_apart(
    hub, save, tmp_path, changes: dict, standing: Standing
) -> None:
    other = save(0, **changes)
    ours = save(1)
    offer(hub, other, ours)
    out = tmp_path / "theirs"
    by_file = {Path(one.file).name: one for one in pull(REPO, out)}
    assert by_file[other.name].outcome is Outcome.REFUSED
    assert by_file[other.name].reason is standing
    assert everything(out) == {ours.name}
    by_file = {Path(one.file).name: one for one in pull(REPO, out, others="apart")}
    assert by_file[other.name].outcome is Outcome.APART
    assert everything(out) == {ours.name, f"others/{standing}/{other.name}"}
    assert len(load_results([out])) == 1  # those apart are not read along


def test_other_protocols_are_refused_or_kept_apart(hub, save, results, tmp_path) -> None:
    def with_protocol(index: int, **changes: object) -> Path:
        recorded = results[index].protocol | changes
        return save(index, protocol=recorded | {"sha256": protocol_hash(recorded)})

    altered = save(0, protocol=results[0].protocol | {"tf32": True})
    hashed, unknown = with_protocol(1, tf32=True), with_protocol(2, id="my-lab-v1")
    offer(hub, altered, hashed, unknown)
    reasons = {
        altered.name: Problem.PROTOCOL_ALTERED,
        hashed.name: Standing.OTHER_PROTOCOL,
        unknown.name: Standing.UNKNOWN_PROTOCOL,
    }
    out = tmp_path / "theirs"
    assert {Path(one.file).name: one.reason for one in pull(REPO, out)} == reasons
    assert not out.exists()
    assert {Path(one.file).name: one.reason for one in pull(REPO, out, others="apart")} == reasons
    assert everything(out) == {
        f"others/{reasons[path.name]}/{path.name}" for path in (hashed, unknown)
    }


@pytest.mark.parametrize(
    "name",
    [
        "results/../../escaped.json",
        "../escaped.json",
        "/escaped.json",
        "results/m/000000000000/p/../../../../../escaped.json",
        "results\\..\\escaped.json",
        "results/m/000000000000/p/deep/escaped.json",
        "results/m/000000000000/p/escaped.png",
    ],
)
def test_names_cannot_leave_the_folder(hub, save, tmp_path, name: str) -> None:
    ours = save(0)
    offer(hub, ours, **{name: ours.read_bytes()})
    out = tmp_path / "theirs" / "deep" / "deeper"
    pulled = {one.file: one for one in pull(REPO, out)}
    assert pulled[name].reason is Problem.STRAY
    assert everything(tmp_path / "theirs") == {f"deep/deeper/{ours.name}"}
    assert not list(tmp_path.rglob("*escaped*"))


def test_each_file_is_checked_before_it_is_written(hub, save, tmp_path) -> None:
    broken, implausible, moved = save(0), save(1, seconds=-1.0), save(2)
    files = offer(hub, broken, implausible)
    stored = hub.repositories["dataset", REPO].files
    stored[next(name for name in files if Path(name).name == broken.name)] = b'{"a": NaN}'
    stored["results/other/000000000000/p/f.json"] = moved.read_bytes()
    reasons = {one.reason for one in pull(REPO, tmp_path / "theirs")}
    assert reasons == {Problem.UNREADABLE, Problem.VALUE, Problem.PLACE}
    assert not (tmp_path / "theirs").exists()


def test_a_file_of_yours_is_never_replaced(hub, save, tmp_path) -> None:
    path = save(0)
    offer(hub, path)
    mine = tmp_path / "theirs" / path.name
    mine.parent.mkdir()
    mine.write_bytes(save(0, seconds=1.0).read_bytes())
    before = mine.read_bytes()
    assert [one.outcome for one in pull(REPO, mine.parent)] == [Outcome.YOURS_KEPT]
    assert mine.read_bytes() == before


def test_scores_come_along_if_they_are_asked_for_and_fit(hub, save, results, tmp_path) -> None:
    good, bad = (save(i, scores=f"scores/{save(i).stem}.parquet") for i in (0, 1))
    files = offer(hub, good, bad)
    sound = parquet(id=["a", "b"], psnr=[1.0, 2.0])
    stored = hub.repositories["dataset", REPO].files
    for name in files:
        data = sound if Path(name).name == good.name else b"PAR1"
        stored[scores_place(Path(name)).as_posix()] = data
    pull(REPO, tmp_path / "without")
    assert everything(tmp_path / "without") == {good.name, bad.name}
    pull(REPO, tmp_path / "with", scores=True)
    scores = f"scores/{good.stem}.parquet"
    assert everything(tmp_path / "with") == {good.name, bad.name, scores}
    assert (tmp_path / "with" / scores).read_bytes() == sound


def test_files_that_are_too_large_are_refused_before_the_download(hub, save, tmp_path) -> None:
    good, bad = save(0), save(1)
    files = offer(hub, good, bad)
    stored = hub.repositories["dataset", REPO].files
    large = next(name for name in files if Path(name).name == bad.name)
    scores = scores_place(Path(large)).as_posix()
    stored |= {large: bytes(MAX_BYTES + 1), scores: bytes(MAX_SCORES_BYTES + 1)}
    refused = [one for one in pull(REPO, tmp_path / "theirs", scores=True) if one.path is None]
    assert {one.file for one in refused} == {large, scores}
    assert {one.reason for one in refused} == {Problem.UNREADABLE}
    assert str(MAX_BYTES + 1) in next(one.text for one in refused if one.file == large)
    assert everything(tmp_path / "theirs") == {good.name}
    assert not [one for one in hub.requests if one.endswith((large, scores))]


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (parquet(id=["a"], psnr=[1.0]), True),
        (parquet(id=["a"], unknown=[1.0]), False),
        (parquet(id=["a"], psnr=["text"]), False),
        (parquet(name=["a"], psnr=[1.0]), False),
        (parquet(id=["a"] * 36, psnr=[1.0] * 36), False),
        (b"", False),
    ],
)
def test_scores_that_fit(results, data: bytes, fits: bool) -> None:
    assert results[0].data.n == 35
    assert scores_fit(data, results[0]) is fits


def test_a_clone_in_a_folder(save, tmp_path) -> None:
    paths = [save(0), save(1, numbers_version=1)]
    clone = tmp_path / "clone"
    for path in paths:
        place = place_of(from_json(read_json(path), path)).as_posix()
        write_bytes(clone / place, path.read_bytes())
    link = clone / "results" / "m" / ("0" * 12) / "p" / "link.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(paths[0])
    write_bytes(clone / ".git/config", b"")
    pulled = {Path(one.file).name: one for one in pull(clone, tmp_path / "theirs")}
    assert {name: one.reason for name, one in pulled.items()} == {
        paths[0].name: Standing.CURRENT,
        paths[1].name: Standing.OTHER_NUMBERS,
        "link.json": Problem.STRAY,
    }
    assert everything(tmp_path / "theirs") == {paths[0].name}
    with pytest.raises(HubError, match="neither"):
        pull(str(tmp_path / "absent"), tmp_path / "theirs")
    with pytest.raises(HubError, match="revision"):
        pull(clone, tmp_path / "theirs", revision="v1")


def test_scores_in_a_clone_are_not_read_beyond_their_limit(save, tmp_path, monkeypatch) -> None:
    path = save(0, scores=f"scores/{save(0).stem}.parquet")
    place = place_of(from_json(read_json(path), path))
    scores = parquet(id=["a"], psnr=[1.0])
    write_bytes(tmp_path / "clone" / place, path.read_bytes())
    write_bytes(tmp_path / "clone" / scores_place(place), scores)
    for limit, files in ((len(scores), 2), (100, 1)):
        monkeypatch.setattr(validate, "MAX_SCORES_BYTES", limit)
        pull(tmp_path / "clone", tmp_path / str(limit), scores=True)
        assert len(everything(tmp_path / str(limit))) == files


def test_an_earlier_commit(hub, save, tmp_path) -> None:
    repository = hub.add(REPO, {})
    first = repository.sha()
    path = save(0)
    place = place_of(from_json(read_json(path), path)).as_posix()
    repository.commits.append({place: path.read_bytes()})
    assert pull(REPO, tmp_path / "theirs", revision=first) == []
    assert len(pull(REPO, tmp_path / "theirs")) == 1


def test_a_name_as_long_as_a_disk_takes_harms_no_other(save, tmp_path) -> None:
    path = save(0)
    place = place_of(from_json(read_json(path), path))
    for name in (place.name, f"{'x' * 250}.json"):
        target = tmp_path / "clone" / place.with_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    pulled = {Path(one.file).name: one.reason for one in pull(tmp_path / "clone", tmp_path / "own")}
    assert pulled[place.name] is Standing.CURRENT
    assert everything(tmp_path / "own") == {path.name}
